"""Whether others can still connect to a server with default settings while a backlog is worked off."""

from __future__ import annotations

import time

import psycopg2

from bench.brokers import OURS, STOCK
from bench.contenders import make_contender
from bench.fleet import fleet
from bench.report import Figures, at_most
from bench.server import BenchServer, bench_server, open_session

#: Longer than ours takes; the stock broker stands still long before.
WATCHED_SECONDS = 25.0


def measure(_server: BenchServer, *, quick: bool) -> list[Figures]:
    """Connections that were refused to somebody else, for each broker on a server of its own."""
    rows: list[Figures] = []
    for name in (STOCK, OURS):
        with bench_server() as server:
            rows.append(_row(server, name, 2_000 if quick else 50_000, 5.0 if quick else WATCHED_SECONDS))
    return rows


def _row(server: BenchServer, name: str, messages: int, watched_seconds: float) -> Figures:
    contender = make_contender(server, name)
    contender.fill(messages, ["q0"])
    refused = tried = 0
    deadline = time.monotonic() + watched_seconds
    with fleet(server, contender, processes=1, threads=8, queues=["q0"]) as workers:
        while time.monotonic() < deadline:
            workers.stack.check()
            tried += 1
            try:
                open_session(server.postgres.dsn).close()
            except psycopg2.OperationalError:
                refused += 1
            time.sleep(0.1)
    return {
        "broker": name,
        "messages": messages,
        "left": contender.unfinished(),
        "connections_tried": tried,
        "connections_refused": at_most(refused, 0, 0) if name == OURS else refused,
    }
