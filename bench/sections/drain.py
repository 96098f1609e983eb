"""How fast a backlog of jobs that do nothing is worked off."""

from __future__ import annotations

import itertools
import time

from bench.contenders import OURS, STOCK, make_contender
from bench.fleet import POLL_SECONDS, Fleet, TooSlowError, fleet
from bench.report import Figures, at_least, rounded
from bench.server import BenchServer, open_session

#: No message finished for this long: it has stalled.
STALLED_SECONDS = 15.0

_ANY_LEFT = """
    SELECT EXISTS (SELECT FROM dramatiq.queue WHERE state = 'queued')
        OR EXISTS (SELECT FROM dramatiq.queue WHERE state = 'consumed')
"""


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """A row for every size of fleet, with both brokers one after the other."""
    sizes = itertools.product([1], [8], [1]) if quick else itertools.product([1, 6], [1, 2], [8, 32, 64])
    if quick:
        return [_row(server, 1, 8, 1, messages=500)]
    return [_row(server, processes, threads, queues, messages=20_000) for queues, processes, threads in sizes]


def _row(server: BenchServer, processes: int, threads: int, queues: int, *, messages: int) -> Figures:
    rates: dict[str, float | None] = {}
    notes: list[str] = []
    for name in (STOCK, OURS):
        rates[name], note = drain(server, name, processes, threads, queues, messages)
        if note:
            notes.append(note)
    stock, ours = rates[STOCK], rates[OURS]
    figures: Figures = {
        "processes": processes,
        "threads": threads,
        "queues": queues,
        "messages": messages,
        "stock_per_second": rounded(stock, 0),
        "ours_per_second": at_least(ours, 10_000, 0) if processes == 2 else rounded(ours, 0),
        "ours_over_stock": at_least(ours / stock, 8) if ours and stock else None,
    }
    return {**figures, "note": "; ".join(notes)} if notes else figures


def drain(
    server: BenchServer, name: str, processes: int, threads: int, queues: int, messages: int
) -> tuple[float | None, str | None]:
    """Messages a second from when all processes are at work until the table is empty.

    None, and where it stood, when it stalls.
    """
    contender = make_contender(server, name)
    queue_names = [f"q{number}" for number in range(queues)]
    contender.fill(messages, queue_names)
    with fleet(server, contender, processes=processes, threads=threads, queues=queue_names) as workers:
        try:
            workers.await_all_at_work()
        except TooSlowError:
            return None, f"{name}: {contender.unfinished()} left and not all processes came to work"
        left, began_at = contender.unfinished(), time.monotonic()
        left_in_the_end = _await_end(contender.dsn, workers, left)
        seconds = time.monotonic() - began_at
    if left_in_the_end:
        return None, f"{name}: stalled at {messages - left_in_the_end} of {messages}"
    return left / seconds, None


def _await_end(dsn: str, workers: Fleet, left: int) -> int:
    """Wait until nothing is left, or for a stall; returns what is left then."""
    session = open_session(dsn)
    moved_at = counted_at = time.monotonic()
    with session.cursor() as row:
        while True:
            workers.stack.check()
            row.execute(_ANY_LEFT)
            if row.fetchone() == (False,):
                return 0
            if time.monotonic() - counted_at > 1.0:
                counted_at = time.monotonic()
                row.execute("SELECT count(*) FROM dramatiq.queue WHERE state IN ('queued', 'consumed')")
                (now_left,) = row.fetchone() or (0,)
                if now_left != left:
                    left, moved_at = now_left, counted_at
                elif counted_at - moved_at > STALLED_SECONDS:
                    return left
            time.sleep(POLL_SECONDS)
