"""What an attempt has in hand, and why the platform refused it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import psycopg2
import pytest

from app import patience
from app.answers import Hand, Kept, columns_of, hand_of
from app.calls import Call
from app.errors import DatabaseAway, GiveUp
from app.patience import retry_on_disconnect
from app.refusals import refusal_of
from tests.unit.recorded import stop_clock


@dataclass(frozen=True)
class Said:
    text: str


@dataclass(frozen=True)
class Drawn:
    mime: str


def test_an_empty_hand_keeps_nothing() -> None:
    hand = Hand()
    assert (bool(hand), hand.kept(), columns_of(hand.kept()), hand.take(Said)) == (
        False,
        None,
        (None, None),
        [],
    )
    assert hand_of({"answer": None}).kept() is None


def test_what_is_held_is_kept_by_the_name_of_its_type() -> None:
    hand, call = Hand(), Call("openai", "gpt-4o", "answer")
    hand.hold(Said("a\x00\ud800"), calls=[call])
    hand.hold(Drawn("image/png"), content=b"PNG")
    assert hand.kept() == Kept(
        {"Said": [{"text": "a\ufffd\ufffd"}], "Drawn": [{"mime": "image/png"}]}, b"PNG"
    )
    assert (bool(hand), hand.calls, hand.content) == (True, [call], b"PNG")
    hand.drop()
    assert (bool(hand), hand.kept(), hand.calls, hand.content) == (False, None, [], None)


def test_what_an_earlier_attempt_kept_is_taken_and_kept_again() -> None:
    row = {
        "answer": {"Said": [{"text": "a"}, {"text": "b"}]},
        "content": memoryview(b"x"),
        "kept_seconds": 9.0,
    }
    hand = hand_of(row)
    assert (hand.take(Said), hand.take_one(Said), hand.take_one(Drawn)) == (
        [Said("a"), Said("b")],
        Said("a"),
        None,
    )
    assert (hand.kept_seconds, hand.kept()) == (9.0, Kept(cast(Any, row["answer"]), b"x"))
    with hand.holding(Said("c")):
        assert hand.kept() == Kept({"Said": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}, b"x")
    assert hand.kept() == Kept(cast(Any, row["answer"]), b"x")
    hand.drop(Said)
    assert not hand


def test_an_error_leaves_it_in_hand() -> None:
    hand = Hand()
    with pytest.raises(ZeroDivisionError), hand.holding(Said("a")):
        raise ZeroDivisionError
    assert hand.kept() == Kept({"Said": [{"text": "a"}]})


def test_what_can_not_be_read_fails_the_job_and_is_not_dropped() -> None:
    hand = Hand(Kept({"Said": [{"words": "a"}]}))
    with pytest.raises(GiveUp, match=r"worker\.kept_answer_unreadable"):
        hand.take(Said)
    assert hand


class Refused(psycopg2.Error):
    """An error as the server tells it."""

    def __init__(self, sqlstate: str, message: str, context: str | None = None) -> None:
        super().__init__(message)
        self._told = {"pgcode": sqlstate, "diag": Told(message, context)}

    def __getattribute__(self, name: str) -> Any:
        told = object.__getattribute__(self, "__dict__").get("_told", {})
        return told[name] if name in told else super().__getattribute__(name)


@dataclass(frozen=True)
class Told:
    message_primary: str
    context: str | None


def reason(message: str, answer: str = "", context: str | None = None) -> str:
    return refusal_of(Refused("P0001", message, context), Kept({"Answer": [{"text": answer}]})).message


def test_a_refusal_has_the_platforms_own_words_and_where_they_come_from() -> None:
    assert reason("no  such\nthing") == "P0001: no such thing"
    told = reason("no", context="PL/pgSQL function public.f() line 3 at RAISE\nSQL statement SECRET")
    assert told == "P0001: no (PL/pgSQL function public.f() line 3 at RAISE)"
    assert reason("no", context="SQL statement SECRET") == "P0001: no"


def test_a_refusal_is_bounded_and_redacted() -> None:
    assert reason("x" * 1_000) == "P0001: " + "x" * 300
    assert reason("key sk-abcdefghijkl is bad") == "P0001: key [redacted] is bad"


@pytest.mark.parametrize("answer", ["four", "a recipe that nobody may read, with many words"])
def test_a_refusal_never_quotes_the_answer(answer: str) -> None:
    assert reason(f"bad text: {answer}", answer) == "P0001: the reason quotes the answer and is left out"
    assert reason("bad text", answer) == "P0001: bad text"


def test_an_outage_is_sat_out_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = stop_clock(monkeypatch, patience)
    monkeypatch.setattr("app.patience.random.uniform", lambda _low, high: high)
    answers = iter([DatabaseAway("away")] * 9 + ["here"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, DatabaseAway):
            raise answer
        return answer

    assert retry_on_disconnect(ask) == "here"
    assert naps == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_an_outage_is_not_sat_out_for_longer_than_the_time_given(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = stop_clock(monkeypatch, patience)
    monkeypatch.setattr("app.patience.random.uniform", lambda _low, high: high)

    def ask() -> None:
        raise DatabaseAway("away")

    with pytest.raises(DatabaseAway):
        retry_on_disconnect(ask, seconds=0.4)
    assert naps == [0.05, 0.1, 0.2]
    naps.clear()
    with pytest.raises(DatabaseAway):
        retry_on_disconnect(ask, seconds=0.0)
    assert naps == []


def test_what_is_refused_is_not_asked_again() -> None:
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise Refused("42703", "no")

    with pytest.raises(Refused):
        retry_on_disconnect(ask)
    assert asked == [1]
