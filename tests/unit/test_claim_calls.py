"""What a claim asks of the database, and what it makes of the answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app import claims, handover
from app.calls import Call
from app.claims import Claim, Opened, open_claim
from app.errors import JobError, PutBack, RetryLater, StaleClaim
from app.handover import find_lost, hand_back
from tests.unit.recorded import RecordedDatabase

ID, JOB = uuid4(), uuid4()
SLOW = RetryLater("provider.timeout", "slow")
OPEN = "SELECT * FROM worker.open_claim(%s, %s, %s, %s, %s, %s, %s)"
FINISH = "SELECT worker.finish_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS verdict"
RELEASE = "SELECT worker.release_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS ours"
#: What goes with a claim that was not tried before and has nothing in hand.
FRESH = (False, None, None)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What telemetry is told; calls are passed on as they are."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(claims, "settled", lambda outcome, code=None: told.append((outcome, code)))
    monkeypatch.setattr(claims, "call_parameters", tuple)
    monkeypatch.setattr(handover, "call_parameters", tuple)
    return told


def claim(database: RecordedDatabase) -> Claim[Any]:
    made = Claim[Any](database, ID, "lens_run", JOB, {}, attempt=3, errors=1, deaths=0)
    made.calls.append(Call("openai", "gpt-4o", "answer"))
    return made


def test_a_claim_is_finished_in_the_transaction_of_its_results(settled: list[tuple[Any, ...]]) -> None:
    database = RecordedDatabase([{"verdict": "ours"}], [])
    ours = claim(database)
    (call,) = ours.calls
    ours.finish(lambda tx: tx.execute("write"))
    assert database.asked == [
        (FINISH, (ID, 3, "succeeded", None, None, (call,), *FRESH, None, False)),
        ("write", None),
    ]
    assert database.ended == ["committed"]
    assert (ours.calls, settled) == ([], [("succeeded", None)])


def test_a_failure_is_written_with_its_code_and_message(settled: list[tuple[Any, ...]]) -> None:
    database = RecordedDatabase([{"verdict": "ours"}])
    ours = claim(database)
    ours.calls.clear()
    ours.finish(outcome="failed", error=SLOW)
    assert database.asked == [
        (FINISH, (ID, 3, "failed", "provider.timeout", "slow", (), *FRESH, None, False))
    ]
    assert settled == [("failed", "provider.timeout")]


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("stale", "a newer attempt owns this job"), ("gone", "the job was deleted or cancelled")],
)
def test_nothing_of_a_job_is_written_that_is_not_ours_but_its_calls_are(
    verdict: str, said: str, settled: list[tuple[Any, ...]]
) -> None:
    database = RecordedDatabase([{"verdict": verdict}])
    ours = claim(database)
    with pytest.raises((StaleClaim, RuntimeError)) as refused:
        ours.finish(lambda tx: tx.execute("must not be asked"))
    assert len(database.asked) == 1
    assert database.ended == ["committed"]
    assert settled == [("stale", None)]
    assert ours.calls == []
    assert said in str(refused.value) or said in str(refused.value.__cause__ or refused.value.__context__)


def test_a_result_that_can_not_be_written_ends_nothing(settled: list[tuple[Any, ...]]) -> None:
    database = RecordedDatabase([{"verdict": "ours"}])
    ours = claim(database)

    def write(tx: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ours.finish(write)
    assert database.ended == ["rolled back"]
    assert (len(ours.calls), settled) == (1, [])


@pytest.mark.parametrize(
    ("error", "fence", "told"),
    [
        (None, False, ("waiting", None)),
        (SLOW, True, ("waiting", "provider.timeout")),
        (PutBack("provider.waiting", "not yet"), False, ("waiting", None)),
    ],
    ids=["handed back", "fenced after an error", "has to wait"],
)
def test_a_claim_is_put_down_with_its_error_if_it_has_one(
    error: JobError | None, fence: bool, told: tuple[Any, ...], settled: list[tuple[Any, ...]]
) -> None:
    database = RecordedDatabase([{"ours": True}])
    ours = claim(database)
    (call,) = ours.calls
    ours.release(error, fence=fence) if fence else ours.release(error)
    code, message = (error.code, error.message) if error else (None, None)
    counts = not isinstance(error, PutBack)
    assert database.asked == [(RELEASE, (ID, 3, code, message, (call,), fence, counts, *FRESH))]
    assert (ours.calls, settled) == ([], [told])


def test_a_claim_of_others_is_not_put_down(settled: list[tuple[Any, ...]]) -> None:
    ours = claim(RecordedDatabase([{"ours": False}]))
    with pytest.raises(StaleClaim):
        ours.release(SLOW)
    assert settled == [("stale", "provider.timeout")]


def opened(outcome: str, **more: Any) -> list[dict[str, Any]]:
    row = {
        "job_id": JOB,
        "job": {"a": 1},
        "attempt": 2,
        "errors": 3,
        "deaths": 4,
        "wait_ms": 0,
        "bound": True,
        "owner": "ada",
        "answer": None,
    }
    return [{"outcome": outcome, **row, **more}]


@pytest.mark.parametrize("outcome", [Opened.CLAIMED, Opened.RESUMED, Opened.POISON])
def test_a_message_leads_to_the_claim_of_its_job(outcome: Opened) -> None:
    database, hint = RecordedDatabase(opened(outcome.value)), uuid4()
    found, ours = open_claim(
        database, ID, "lens_run", "host:1", hint=hint, max_deaths=7, hold_seconds=8.0, delivery=5
    )
    assert database.asked == [(OPEN, (ID, "lens_run", hint, "host:1", 7, 8.0, 5))]
    assert found is outcome
    assert ours == Claim(database, ID, "lens_run", JOB, {"a": 1}, 2, 3, 4, True, "ada")


@pytest.mark.parametrize("outcome", [Opened.NOTHING, Opened.FINISHED, Opened.GONE, Opened.TAKEN])
def test_where_there_is_nothing_to_do_there_is_no_claim(outcome: Opened) -> None:
    database = RecordedDatabase(opened(outcome.value))
    assert open_claim(database, ID, "lens_run", "host:1", hint=None, max_deaths=3) == (outcome, None)
    assert database.asked[0][1] == (ID, "lens_run", None, "host:1", 3, 900.0, None)


@pytest.mark.parametrize(
    ("outcome", "code", "reason"),
    [
        ("wait", "provider.waiting", "the provider takes no more calls yet"),
        ("locked", "job.locked", "somebody else is at the job's row"),
    ],
)
def test_a_job_that_must_wait_says_why_and_for_how_long(outcome: str, code: str, reason: str) -> None:
    database = RecordedDatabase(opened(outcome, wait_ms=1_500))
    with pytest.raises(PutBack) as waits:
        open_claim(database, ID, "lens_run", "host:1", hint=None, max_deaths=3)
    assert (waits.value.code, waits.value.after_seconds) == (code, 1.5)
    assert waits.value.message == reason


def test_claims_are_handed_back_and_looked_for_by_message_and_attempt() -> None:
    lost: UUID = uuid4()
    database = RecordedDatabase([], [{"id": lost}])
    held = [claim(database)]
    hand_back(database, held)
    assert find_lost(database, held) == {lost}
    (back, back_terms), (look, look_terms) = database.asked
    assert back_terms == ([ID], [3], [()], [None], [None])
    assert look_terms == ([ID], [3])
    assert "worker.release_claim(" in back
    assert look == (
        "SELECT held.id FROM unnest(%s::uuid[], %s) AS held (id, attempt)"
        " WHERE NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = held.id"
        " AND c.attempt = held.attempt AND c.state <> 'finished')"
    )
