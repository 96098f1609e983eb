"""How fast messages are sent: one by one, from one thread and from many, and many in one transaction."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from dramatiq import Message
from dramatiq.broker import Broker

from app.broker import LeaseBroker
from bench.brokers import OURS, STOCK, build_broker
from bench.contenders import make_contender
from bench.report import Figures
from bench.server import BenchServer, open_session

#: As many as FastAPI's thread pool has, more or less.
THREADS = 32
BATCH = 500


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """Messages sent a second; the stock broker has no batches, and its pool raises where ours waits."""
    seconds = 0.5 if quick else 3.0
    rows: list[Figures] = []
    for name in (STOCK, OURS):
        contender = make_contender(server, name)
        broker = build_broker(name, contender.dsn)
        for threads in (1, THREADS):
            rate, errors = _send_singly(broker, threads, seconds)
            rows.append(
                {"broker": name, "way": f"single, threads {threads}", "per_second": rate, "errors": errors}
            )
        if isinstance(broker, LeaseBroker):
            rate = _send_in_batches(broker, contender.dsn, seconds)
            rows.append({"broker": name, "way": f"batches of {BATCH}", "per_second": rate, "errors": 0})
        else:
            rows.append({"broker": name, "way": "batches", "per_second": None, "errors": None})
        broker.close()
    return rows


def _message() -> Message[None]:
    return Message(queue_name="q0", actor_name="noop_q0", args=(), kwargs={}, options={})


def _send_singly(broker: Broker, threads: int, seconds: float) -> tuple[int, int]:
    """Messages a second, and sends that raised."""
    sent, failed = [0] * threads, [0] * threads
    began_at = time.monotonic()

    def send(number: int) -> None:
        while time.monotonic() - began_at < seconds:
            try:
                broker.enqueue(_message())
                sent[number] += 1
            except Exception:  # whatever the broker raises at its users is a failed send
                failed[number] += 1

    senders = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return round(sum(sent) / (time.monotonic() - began_at)), sum(failed)


def _send_in_batches(broker: LeaseBroker, dsn: str, seconds: float) -> int:
    """Messages a second, building them included."""
    sent, began_at = 0, time.monotonic()
    with closing(open_session(dsn)) as session, session.cursor() as tx:
        while time.monotonic() - began_at < seconds:
            broker.enqueue_in(tx, *(_message() for _ in range(BATCH)))
            sent += BATCH
    return round(sent / (time.monotonic() - began_at))
