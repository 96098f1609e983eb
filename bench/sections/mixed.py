"""How long a short job waits while long ones could take every thread."""

from __future__ import annotations

import time

from dramatiq import Message

from app.cli.demo.scenario import percentile
from bench.brokers import OURS, STOCK, build_broker
from bench.contenders import make_contender
from bench.fleet import fleet
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer

LONG, SHORT = "long", "short"
THREADS = 32
#: Threads that ours keeps from the long jobs.
LEAVE_FREE = 4
PER_SECOND = 10


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """The wait of short jobs in front of 600 jobs of three seconds; those never begun are counted apart."""
    return [_row(server, name, sends=20 if quick else 200) for name in (STOCK, OURS)]


def _row(server: BenchServer, name: str, *, sends: int) -> Figures:
    contender = make_contender(server, name)
    broker = build_broker(name, contender.dsn)
    contender.fill(600, [LONG], actor="nap", kwargs='{"seconds": 3.0}')
    queues = [LONG, SHORT]
    with fleet(
        server, contender, processes=1, threads=THREADS, queues=queues, leave_free=LEAVE_FREE
    ) as workers:
        workers.await_all_at_work()
        time.sleep(0.5)  # until the long jobs have all threads they will get
        began_at = time.monotonic()
        for number in range(sends):
            time.sleep(max(0.0, began_at + number / PER_SECOND - time.monotonic()))
            broker.enqueue(_short_job())
        waits_ms = workers.await_stamps(sends, timeout_seconds=10)
        long_jobs_begun = sum(not entry.sent_at_ns for entry in workers.journal())
    broker.close()
    p50, p99 = percentile(waits_ms, 50), percentile(waits_ms, 99)
    return {
        "broker": name,
        "p50_ms": rounded(p50),
        "p99_ms": at_most(p99, 10) if name == OURS else rounded(p99),
        "sent": sends,
        "never_begun": sends - len(waits_ms),
        "long_jobs_begun": long_jobs_begun,
    }


def _short_job() -> Message[None]:
    return Message(
        queue_name=SHORT, actor_name=f"stamp_{SHORT}", args=(time.monotonic_ns(),), kwargs={}, options={}
    )
