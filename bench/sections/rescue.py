"""How soon another process has the message of one that was killed, at the default lease."""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager, ExitStack, closing

from psycopg2.extensions import connection

from app.cli.demo.scenario import percentile
from bench.contenders import OURS, Contender, make_contender
from bench.fleet import POLL_SECONDS, Fleet, TooSlowError, fleet
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer, open_session

#: Processes that are killed in one round, each in the middle of a job of its own queue.
VICTIMS = 5
ROUNDS = 4

#: Kills of one round are this far apart, so that they fall anywhere between two renewals.
GAP_SECONDS = 0.43

#: A job that lasts longer than a round.
NAP = '{"seconds": 90}'

_OWNERS = """
    SELECT queue_name, owner::text, extract(epoch FROM mtime) FROM dramatiq.queue WHERE state = 'consumed'
"""


def measure(server: BenchServer, *, quick: bool) -> Figures:
    """Rescue times over all kills, in seconds from the kill until another process has taken the message."""
    rounds = 1 if quick else ROUNDS
    waits_seconds = [wait for _ in range(rounds) for wait in _rescues(server)]
    return {
        "kills": len(waits_seconds),
        "p50_seconds": rounded(percentile(waits_seconds, 50)),
        "p99_seconds": at_most(percentile(waits_seconds, 99), 10),
    }


def _rescues(server: BenchServer) -> list[float]:
    contender = make_contender(server, OURS)
    queues = [f"q{number}" for number in range(VICTIMS)]
    with ExitStack() as stack, closing(open_session(contender.dsn)) as session:
        contender.fill(VICTIMS, queues, actor="nap", kwargs=NAP)
        victims = {queue: stack.enter_context(_worker(server, contender, [queue])) for queue in queues}
        held = _await_owners(session, queues, {}, 30)
        stack.enter_context(_worker(server, contender, queues))
        killed_at = {queue: _kill(session, victims[queue]) for queue in queues}
        rescued = _await_owners(session, queues, held, 30)
        return [rescued[queue][1] - killed_at[queue] for queue in queues]


def _worker(server: BenchServer, contender: Contender, queues: list[str]) -> AbstractContextManager[Fleet]:
    return fleet(server, contender, processes=1, threads=VICTIMS, queues=queues)


def _kill(session: connection, victim: Fleet) -> float:
    """Kill a worker with all its children, and say when on the database's clock, in seconds."""
    time.sleep(GAP_SECONDS)
    with session.cursor() as row:
        row.execute("SELECT extract(epoch FROM clock_timestamp())")
        (now,) = row.fetchone() or (0,)
    os.killpg(victim.stack.processes["worker"].pid, signal.SIGKILL)
    return float(now)


def _await_owners(
    session: connection, queues: list[str], before: dict[str, tuple[str, float]], timeout_seconds: float
) -> dict[str, tuple[str, float]]:
    """Who holds each queue's message since when, once it is somebody else than before."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with session.cursor() as row:
            row.execute(_OWNERS)
            owners = {queue: (owner, float(since)) for queue, owner, since in row.fetchall()}
        if all(queue in owners and owners[queue][0] != before.get(queue, ("", 0))[0] for queue in queues):
            return owners
        if time.monotonic() > deadline:
            raise TooSlowError(f"some messages have not changed hands within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
