"""How long a message waits for an idle worker, from just before it is sent until its job begins."""

from __future__ import annotations

import time
from contextlib import suppress

from dramatiq import Message

from app.cli.demo.scenario import percentile
from bench.brokers import OURS, STOCK, build_broker
from bench.contenders import make_contender
from bench.fleet import TooSlowError, fleet, wait_until
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer

PROCESSES = 2
THREADS = 32
PER_SECOND = (20, 200)


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """A row for each rate; sending itself, a commit that waits for the disk, is part of the time."""
    rows: list[Figures] = []
    seconds = 2 if quick else 15
    for rate in PER_SECOND:
        row: Figures = {"per_second": rate}
        for name in (STOCK, OURS):
            pickups_ms = pickups(server, name, rate, seconds=seconds)
            p50, p99 = percentile(pickups_ms, 50), percentile(pickups_ms, 99)
            row[f"{name}_p50_ms"] = rounded(p50)
            row[f"{name}_p99_ms"] = at_most(p99, 20) if name == OURS else rounded(p99)
            row[f"{name}_begun"] = f"{len(pickups_ms)} of {rate * seconds}"
        rows.append(row)
    return rows


def pickups(server: BenchServer, name: str, per_second: int, *, seconds: int) -> list[float]:
    """The wait of every message in milliseconds, sent evenly at this rate."""
    contender = make_contender(server, name)
    broker = build_broker(name, contender.dsn)
    contender.warm_up(PROCESSES, THREADS, ["q0"])
    with fleet(server, contender, processes=PROCESSES, threads=THREADS, queues=["q0"]) as workers:
        workers.await_all_at_work()
        with suppress(TooSlowError):  # the stock broker can lose the ends of jobs that it has done
            wait_until(workers.stack, lambda: not contender.unfinished(), 10)
        count, began_at = per_second * seconds, time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began_at + number / per_second - time.monotonic()))
            broker.enqueue(_stamp())
        waits_ms = workers.await_stamps(count, timeout_seconds=10)
        broker.close()
        return waits_ms


def _stamp() -> Message[None]:
    return Message(queue_name="q0", actor_name="stamp_q0", args=(time.monotonic_ns(),), kwargs={}, options={})
