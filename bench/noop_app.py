"""The application that both brokers run: actors that do next to nothing, and say when they began.

Started by the `dramatiq` command line; which broker, which queues and where to report stand in the
environment, see `bench.fleet`.
"""

from __future__ import annotations

import os
import time

import dramatiq

from app.broker import QueuePolicy
from bench.brokers import build_broker
from bench.journal import Journal

QUEUES = os.environ["BENCH_QUEUES"].split(",")
LEAVE_FREE = int(os.environ.get("BENCH_LEAVE_FREE", "0"))

journal = Journal(os.environ["BENCH_JOURNAL"])
broker = build_broker(
    os.environ["BENCH_CONTENDER"],
    os.environ["DATABASE_URL"],
    {QUEUES[0]: QueuePolicy(leave_free=LEAVE_FREE)} if LEAVE_FREE else None,
)
dramatiq.set_broker(broker)

_signed_in = False


def noop() -> None:
    """Nothing, but for the first time in this process."""
    global _signed_in  # noqa: PLW0603  # one look at a global is the least that this can cost
    if not _signed_in:
        _signed_in = True
        journal.write(0)


def stamp(sent_at_ns: int) -> None:
    """Note when the sender sent this and that it has begun."""
    journal.write(sent_at_ns)


def nap(seconds: float) -> None:
    """Take some time."""
    journal.write(0)
    time.sleep(seconds)


for _queue in QUEUES:
    for _job in (noop, stamp, nap):
        dramatiq.actor(_job, actor_name=f"{_job.__name__}_{_queue}", queue_name=_queue)
