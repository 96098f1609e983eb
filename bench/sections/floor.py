"""The floor: a bare loop that takes and deletes rows of our table, with no broker around it.

Run as a program it is one such process: `python -m bench.sections.floor DSN BATCH`.
"""

from __future__ import annotations

import subprocess
import sys
import time

from bench.brokers import OURS
from bench.contenders import make_contender
from bench.fleet import ROOT, inherited_environment
from bench.report import Figures, at_least, rounded
from bench.sections.drain import drain
from bench.server import BenchServer, open_session

_TAKE = """
    WITH due AS MATERIALIZED (
        SELECT message_id FROM dramatiq.queue
        WHERE queue_name = 'q0' AND state = 'queued' AND mtime <= now()
        ORDER BY mtime LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE dramatiq.queue AS w SET state = 'consumed', mtime = now()
    FROM due WHERE w.message_id = due.message_id
    RETURNING w.message_id::text, w.message::text
"""
_DELETE = "DELETE FROM dramatiq.queue WHERE message_id = ANY (%s::uuid[])"


def measure(server: BenchServer, *, quick: bool) -> Figures:
    """Rows a second, and our drain as a share of the loop with batches of 10.

    Commits don't wait for the disk, as our broker's own don't.
    """
    batches, sizes, messages = ((10,), (1,), 500) if quick else ((1, 10, 64), (1, 2), 20_000)
    rates: Figures = {}
    for batch in batches:
        for processes in sizes:
            count = messages if batch > 1 else messages // 4
            rate = _loop_rate(server, batch, processes, count)
            rates[f"batch_{batch}_processes_{processes}"] = rounded(rate, 0)
    return {**rates, **_shares(server, rates, sizes, messages)}


def _shares(server: BenchServer, rates: Figures, sizes: tuple[int, ...], messages: int) -> Figures:
    shares: Figures = {}
    for processes in sizes:
        ours, _ = drain(server, OURS, processes, 64, 1, messages)
        floor = rates[f"batch_10_processes_{processes}"]
        shares[f"ours_over_batch_10_processes_{processes}"] = at_least(ours and ours / floor, 0.6)
    return shares


def _loop_rate(server: BenchServer, batch: int, processes: int, messages: int) -> float:
    contender = make_contender(server, OURS)
    contender.fill(messages, ["q0"])
    command = [sys.executable, "-m", "bench.sections.floor", contender.dsn, str(batch)]
    loops = [
        subprocess.Popen(command, cwd=ROOT, env=inherited_environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    reports = [loop.communicate()[0].split() for loop in loops]
    if any(loop.returncode for loop in loops):
        raise ChildProcessError("a loop of the floor has failed")
    began_at = min(float(began) for began, _ in reports)
    ended_at = max(float(ended) for _, ended in reports)
    return messages / (ended_at - began_at)


def take_and_delete(dsn: str, batch: int) -> None:
    """Empty the queue and print when that began and ended, on the monotonic clock."""
    session = open_session(dsn)
    with session.cursor() as row:
        row.execute("SET synchronous_commit = off")
        began_at = time.monotonic()
        while True:
            row.execute(_TAKE, (batch,))
            ids = [message_id for message_id, _ in row.fetchall()]
            if not ids:
                break
            row.execute(_DELETE, (ids,))
    print(began_at, time.monotonic())


if __name__ == "__main__":
    take_and_delete(sys.argv[1], int(sys.argv[2]))
