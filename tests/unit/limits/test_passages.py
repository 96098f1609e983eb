"""A passage is asked for, waited for, and settled with what its calls came to."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from structlog.testing import capture_logs

from app import patience
from app.calls import Call, call_parameters
from app.claims import Claim
from app.errors import DatabaseAway, GiveUp, PutBack
from app.limits import passages
from app.limits.passages import Quota, count_call, passage, passage_of
from tests.unit.recorded import RecordedDatabase, stop_clock

TICKET = uuid4()
QUOTA = Quota("openai", "gpt-4o", "platform", "ada")
ASK = "SELECT wait_ms, bound, owner FROM worker.ask_passage(%s, %s, %s, %s, %s, %s)"
SETTLE = "SELECT worker.settle_passage(%s, %s, %s, %s, %s)"
ASKED = (ASK, (TICKET, "openai", "gpt-4o", "platform", "ada", 60.0))


def answer(wait_ms: int = 0, *, bound: bool = True) -> list[dict[str, Any]]:
    return [{"wait_ms": wait_ms, "bound": bound, "owner": None}]


def call(duration_ms: int = 500, tokens: int = 10, **more: Any) -> Call:
    made = {"tokens_in": tokens, "tokens_out": 1, "duration_ms": duration_ms, **more}
    return Call("openai", "gpt-4o", made.pop("purpose", "answer"), **made)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return stop_clock(monkeypatch, passages)


def test_what_the_calls_came_to_is_settled_and_how_long_ago_the_passage_was_taken(naps: list[float]) -> None:
    database = RecordedDatabase(answer(), [])
    with passage(database, TICKET, QUOTA, hold_seconds=60.0):
        naps.append(3.0)
        count_call(call(500))
        count_call(call(1_500, tokens=20))
        count_call(call(9_000, purpose="poll"))
    assert database.asked == [ASKED, (SETTLE, (TICKET, 2, 32.0, 1.0, 3.0))]


def test_nobody_knows_the_tokens_of_calls_of_which_one_failed() -> None:
    database = RecordedDatabase(answer(), [])
    with passage(database, TICKET, QUOTA, hold_seconds=60.0):
        count_call(call(failure=GiveUp("provider.invalid_request", "")))
        count_call(call())
    assert database.asked[1] == (SETTLE, (TICKET, 2, None, 0.5, 0.0))


def test_a_passage_without_a_call_is_settled_as_such_whatever_happens() -> None:
    database = RecordedDatabase(answer(), [])
    with pytest.raises(ValueError, match="no"), passage(database, TICKET, QUOTA, hold_seconds=60.0):
        raise ValueError("no")
    assert database.asked[1] == (SETTLE, (TICKET, 0, 0.0, None, 0.0))
    count_call(call())  # after it, or on another thread, nothing is counted


def test_calls_of_other_threads_are_not_counted() -> None:
    database = RecordedDatabase(answer(), [])
    with passage(database, TICKET, QUOTA, hold_seconds=60.0):
        other = threading.Thread(target=count_call, args=(call(),))
        other.start()
        other.join()
    assert database.asked[1] == (SETTLE, (TICKET, 0, 0.0, None, 0.0))


def test_where_no_limit_binds_there_is_nothing_to_settle() -> None:
    database = RecordedDatabase(answer(bound=False))
    with passage(database, TICKET, QUOTA, hold_seconds=60.0):
        count_call(call())
    assert database.asked == [ASKED]


def test_a_short_wait_is_waited_for_and_who_waits_asks_every_second(naps: list[float]) -> None:
    database = RecordedDatabase(answer(1_500), answer(500), answer(), [])
    with passage(database, TICKET, QUOTA, hold_seconds=60.0, patience_seconds=2.0):
        pass
    assert naps == [1.0, 0.5]
    assert database.asked[:3] == [ASKED] * 3


@pytest.mark.parametrize(("patience", "waits"), [({}, [1]), ({"patience_seconds": 2.0}, [900, 1_101])])
def test_a_wait_that_is_too_long_puts_the_work_back(
    patience: dict[str, float], waits: list[int], naps: list[float]
) -> None:
    database = RecordedDatabase(*(answer(wait) for wait in waits))
    with pytest.raises(PutBack) as refused, passage(database, TICKET, QUOTA, hold_seconds=60.0, **patience):
        raise AssertionError("must not begin")
    assert (refused.value.code, refused.value.after_seconds) == ("provider.waiting", waits[-1] / 1000)
    assert refused.value.message == "the provider takes no more calls yet"
    assert refused.value.ticket == TICKET
    assert sum(naps) == sum(waits[:-1]) / 1000


@pytest.mark.parametrize("is_bound", [True, False])
def test_the_passage_of_a_claim_is_settled_if_it_has_one(is_bound: bool) -> None:
    database = RecordedDatabase([])
    claim = Claim[Any](database, TICKET, "lens_run", uuid4(), {}, 1, 0, 0, bound=is_bound)
    with passage_of(claim):
        count_call(call())
    assert database.asked == ([(SETTLE, (TICKET, 1, 11.0, 0.5, 0.0))] if is_bound else [])


def test_a_call_tells_whose_passage_it_took_unless_its_message_does() -> None:
    of_node, of_message = call(), call()
    with passage(RecordedDatabase(answer(), []), TICKET, QUOTA, hold_seconds=60.0):
        count_call(of_node)
    with passage_of(Claim[Any](RecordedDatabase([]), TICKET, "lens_run", uuid4(), {}, 1, 0, 0, bound=True)):
        count_call(of_message)
    assert (of_node.passage, of_message.passage) == (TICKET, None)
    assert [told.get("passage") for told in call_parameters([of_node, of_message]).adapted] == [
        str(TICKET),
        None,
    ]


def test_an_outage_is_sat_out_and_what_can_not_be_settled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_pauses", lambda: itertools.chain([0.0] * 3, itertools.repeat(3600.0)))
    outage = [DatabaseAway("gone")] * 3
    again = RecordedDatabase(answer(), *outage, [])
    with passage(again, TICKET, QUOTA, hold_seconds=60.0):
        count_call(call())
    assert again.asked[1:] == [(SETTLE, (TICKET, 1, 11.0, 0.5, 0.0))] * 4
    for failure, tries in ((DatabaseAway("full"), 4), (psycopg2.DataError("bad\n"), 1)):
        with (
            capture_logs() as logs,
            passage(RecordedDatabase(answer(), *[failure] * tries), TICKET, QUOTA, hold_seconds=60.0),
        ):
            time.sleep(0)
        assert len(logs) == tries
        assert logs[-1] == {
            "event": "passage not settled",
            "log_level": "warning",
            "error": str(failure).strip(),
        }
