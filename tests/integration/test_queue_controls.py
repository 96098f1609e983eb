"""Pausing and capping queues while workers run, and working where notifications can't be heard."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.boot import build_broker
from app.broker import LeaseBroker
from app.database import database
from app.settings import settings
from tests.doubles.poolers import deaf_proxy
from tests.integration.broker_rows import state_of, wait_for_state, wait_until_empty
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

WAITING = "SELECT count(*) FROM dramatiq.queue WHERE state = 'queued'"


class Bench:
    """Jobs that stay at work until they are let go, and a count of them."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most = 0
        self.done = 0
        self.go = threading.Event()
        self._guard = threading.Lock()

    def work(self) -> None:
        with self._guard:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        assert self.go.wait(20)
        with self._guard:
            self.at_work -= 1
            self.done += 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.go.set()


def declare(bench: Bench, queue: str) -> dramatiq.Actor[[], None]:
    return dramatiq.actor(bench.work, actor_name=f"work_on_{queue}", queue_name=queue)


def test_a_paused_queue_waits_and_the_others_go_on(
    broker: LeaseBroker, connection: Connection, bench: Bench
) -> None:
    bench.go.set()
    paused, running = declare(bench, "paused"), declare(bench, "running")
    call(connection, "SELECT worker.pause_queue('paused')")
    with running_worker(broker):
        paused.send()
        running.send()
        eventually(lambda: bench.done == 1, what="the job of the open queue")
        assert call(connection, WAITING) == 1
        call(connection, "SELECT worker.pause_queue('paused', false)")
        eventually(lambda: bench.done == 2, what="the job of the reopened queue")


def test_pausing_lets_what_runs_finish(broker: LeaseBroker, connection: Connection, bench: Bench) -> None:
    paused, running = declare(bench, "paused"), declare(bench, "running")
    with running_worker(broker):
        begun = paused.send()
        eventually(lambda: bench.at_work == 1, what="the job")
        call(connection, "SELECT worker.pause_queue('paused')")
        later = paused.send()
        bench.go.set()
        running.send()
        eventually(lambda: bench.done == 2, what="its end, and that of one in the open queue")
        wait_for_state(connection, begun.message_id, None)
    assert state_of(connection, later.message_id) == "queued"
    assert bench.done == 2


def test_a_cap_holds_over_all_processes(broker: LeaseBroker, connection: Connection, bench: Bench) -> None:
    actor = declare(bench, "capped")
    call(connection, "SELECT worker.cap_queue('capped', 3)")
    second = build_broker(settings())
    dramatiq.set_broker(second)
    declare(bench, "capped")
    with running_worker(broker, threads=4), running_worker(second, threads=4):
        for _ in range(12):
            actor.send()
        eventually(lambda: bench.at_work == 3, what="a full cap")
        bench.go.set()
        eventually(lambda: bench.done == 12, what="all jobs")
    assert bench.most == 3


def test_lifting_a_cap_takes_effect_at_once(
    broker: LeaseBroker, connection: Connection, bench: Bench
) -> None:
    actor = declare(bench, "capped")
    call(connection, "SELECT worker.cap_queue('capped', 1)")
    with running_worker(broker, threads=4):
        for _ in range(4):
            actor.send()
        eventually(lambda: bench.at_work == 1, what="a full cap")
        assert call(connection, WAITING) == 3
        call(connection, "SELECT worker.cap_queue('capped', NULL)")
        eventually(lambda: bench.at_work == 4, what="work on every thread")
        assert call(connection, WAITING) == 0
        bench.go.set()
        wait_until_empty(connection)
    assert (bench.done, bench.most) == (4, 4)


def test_messages_are_found_where_no_notification_is_heard(
    dsn: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.go.set()
    with deaf_proxy(dsn) as deaf_dsn:
        monkeypatch.setenv("DATABASE_URL", deaf_dsn)
        settings.cache_clear()
        database.cache_clear()
        broker = build_broker(settings())
        dramatiq.set_broker(broker)
        actor = declare(bench, "polled")
        with running_worker(broker):
            actor.send()
            eventually(lambda: bench.done == 1, what="the first job")
            actor.send()
            eventually(lambda: bench.done == 2, what="a job sent while the worker was idle")
        broker.close()
        database.cache_clear()
    assert capfd.readouterr().out.count("no notification can be heard") == 1
