"""Jobs over their hard time limit whose threads are past the reach of an exception."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app import deadlines
from app.broker import LeaseBroker
from app.claims import Claim
from app.local.platform import Seeded, enqueue_lens_run
from app.platform.lens_runs import LensRun, fail_run
from app.work import work
from tests.integration.broker_rows import row_of, wait_for_state, wait_until_empty
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import rows
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_DEADLINE_GRACE_MS="100", WORKER_RETRY_MIN_BACKOFF_MS="1")


class Gate:
    """Jobs wait here in C: an exception raised in the thread arrives only once it is open."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        with self._lock:
            return

    def open(self) -> None:
        if self._lock.locked():
            self._lock.release()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(deadlines, "LOOK_SECONDS", 0.02)
    made = Gate()
    yield made
    made.open()


def declare(gate: Gate, *, hangs: int) -> None:
    """Lens runs of which the first so many attempts hang."""

    @work("lens_run", queue="lens_runs", job=LensRun, fail=fail_run, time_limit_ms=1_000)
    def execute_lens_run(claim: Claim[LensRun]) -> None:
        gate.attempts.append(claim.attempt)
        if len(gate.attempts) <= hangs:
            gate.wait()
        claim.finish(
            lambda tx: tx.execute(
                "UPDATE execution.runs SET status = 'succeeded', completed_at = now() WHERE id = %s",
                (claim.job_id,),
            )
        )


def claim_of(connection: Connection) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM worker.claims")[0]


def threads_at_work(broker: LeaseBroker) -> int:
    return sum(
        type(thread).__name__ == "_WorkerThread" and thread.broker is broker
        for thread in threading.enumerate()
    )


def test_a_job_that_hangs_in_c_is_done_by_another_thread_and_its_late_end_is_refused(
    gate: Gate, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    declare(gate, hangs=1)
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    with running_worker(broker, threads=2):
        eventually(lambda: len(gate.attempts) == 2, what="another attempt")
        wait_until_empty(connection)
        gate.open()
    claim = claim_of(connection)
    assert claim["outcome"] == "succeeded"
    assert claim["deaths"] == 0
    assert claim["attempt"] == gate.attempts[1]
    ((attempt, ended, code),) = [(h["attempt"], h["ended"], h["error_code"]) for h in claim["history"]]
    assert (attempt, ended, code) == (1, "error", "worker.deadline")


@pytest.mark.environment(WORKER_RETRY_MIN_BACKOFF_MS="3600000")
def test_a_result_that_comes_before_the_next_attempt_is_refused_too(
    gate: Gate, broker: LeaseBroker, connection: Connection, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.backoff.random.uniform", lambda _low, high: high)
    declare(gate, hangs=1)
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    with running_worker(broker, threads=2):
        eventually(
            lambda: call(connection, "SELECT state FROM worker.claims") == "waiting", what="the deadline"
        )
        eventually(lambda: call(connection, "SELECT state FROM dramatiq.queue") == "queued", what="a retry")
        gate.open()
        eventually(lambda: threads_at_work(broker) == 2, what="the end of the thread")
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "running"
    assert claim_of(connection)["state"] == "waiting"
    assert call(connection, "SELECT state FROM dramatiq.queue") == "queued"


@dataclass(frozen=True)
class Said:
    text: str


def test_a_job_that_hangs_with_its_answer_in_hand_leaves_it_to_the_next_attempt(
    gate: Gate, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    asked: list[int] = []

    @work("lens_run", queue="lens_runs", job=LensRun, fail=fail_run, time_limit_ms=1_000)
    def execute_lens_run(claim: Claim[LensRun]) -> None:
        said = claim.hand.take_one(Said)
        if said is None:
            asked.append(claim.attempt)
            said = Said(f"attempt {claim.attempt}")
            claim.hand.hold(said)
            gate.wait()
        answer = said.text
        claim.finish(
            lambda tx: tx.execute(
                "UPDATE execution.runs SET status = 'succeeded', completed_at = now(), response_text = %s"
                " WHERE id = %s",
                (answer, claim.job_id),
            )
        )

    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    with running_worker(broker, threads=2):
        eventually(lambda: call(connection, "SELECT response_text FROM execution.runs"), what="the answer")
        wait_until_empty(connection)
        gate.open()
    claim = claim_of(connection)
    assert (asked, call(connection, "SELECT response_text FROM execution.runs")) == ([1], "attempt 1")
    assert (claim["outcome"], claim["errors"], claim["deaths"]) == ("succeeded", 0, 0)
    ((ended, code),) = [(entry["ended"], entry["error_code"]) for entry in claim["history"]]
    assert (ended, code) == ("handed_back", "worker.deadline")
    assert call(connection, "SELECT count(*) FROM worker.kept_answers") == 0


@pytest.mark.environment(WORKER_JOB_MAX_ATTEMPTS="2")
def test_a_job_that_hangs_each_time_fails_with_the_code_of_the_deadline(
    gate: Gate, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    declare(gate, hangs=2)
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    failed = "SELECT error_code FROM execution.runs WHERE id = %s AND status = 'failed'"
    with running_worker(broker, threads=3):
        eventually(lambda: call(connection, failed, run), what="the end of the run")
        wait_until_empty(connection)
        gate.open()
    assert call(connection, failed, run) == "worker.deadline"
    assert claim_of(connection)["outcome"] == "failed"


def test_a_message_without_a_job_that_hangs_is_rejected_and_its_thread_replaced(
    gate: Gate, broker: LeaseBroker, connection: Connection
) -> None:
    done = threading.Event()

    @dramatiq.actor(time_limit=200)
    def hang() -> None:
        gate.wait()

    @dramatiq.actor
    def note() -> None:
        done.set()

    with running_worker(broker, threads=2):
        sent = hang.send()
        wait_for_state(connection, sent.message_id, "rejected")
        note.send()
        assert done.wait(10)
        gate.open()
    row = row_of(connection, sent.message_id)
    assert row is not None
    assert "worker.deadline" in row["message"]["options"]["traceback"]
    assert row["deliveries"] == 1


def test_a_job_that_is_in_time_is_left_alone(gate: Gate, broker: LeaseBroker, connection: Connection) -> None:
    napping: list[int] = []

    @dramatiq.actor(time_limit=60_000)
    def nap() -> None:
        napping.append(threading.get_ident())
        time.sleep(20 * deadlines.LOOK_SECONDS)
        napping.append(threading.get_ident())

    with running_worker(broker, threads=1):
        nap.send()
        wait_until_empty(connection)
        assert threads_at_work(broker) == 1
    asleep, awake = napping
    assert asleep == awake
