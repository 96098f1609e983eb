"""Connections and queries of processes with six queues and nothing to do."""

from __future__ import annotations

from bench.brokers import OURS, STOCK
from bench.contenders import make_contender
from bench.fleet import TooSlowError, fleet, wait_until
from bench.idleness import connections, transactions_per_second
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer

PROCESSES = 2
THREADS = 32
QUEUES = [f"q{number}" for number in range(6)]


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """Figures per process, after some work; a query outside a transaction counts as one transaction."""
    return [_row(server, name, 3 if quick else 15) for name in (STOCK, OURS)]


def _row(server: BenchServer, name: str, seconds: float) -> Figures:
    contender = make_contender(server, name)
    contender.warm_up(PROCESSES, THREADS, QUEUES)
    with fleet(server, contender, processes=PROCESSES, threads=THREADS, queues=QUEUES) as workers:
        note = ""
        try:
            workers.await_all_at_work()
            wait_until(workers.stack, lambda: not contender.unfinished(), 15)
        except TooSlowError:
            note = f"stalled with {contender.unfinished()} messages left"
        held = connections(server, contender.database) / PROCESSES
        queries = transactions_per_second(server, contender.database, seconds) / PROCESSES
        return {
            "broker": name,
            "queues": len(QUEUES),
            "connections": at_most(held, 6) if name == OURS else rounded(held),
            "queries_per_second": at_most(queries, 1) if name == OURS else rounded(queries),
            "rss_mb": rounded(sum(workers.rss_mb()) / PROCESSES, 1),
            "note": note,
        }
