"""How much memory a worker process needs when a backlog waits."""

from __future__ import annotations

import time

from bench.brokers import OURS, STOCK
from bench.contenders import make_contender
from bench.fleet import fleet
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer

#: More than this between a small and a large backlog is not flat.
FLAT_MB = 5.0
WATCHED_SECONDS = 5.0


def measure(server: BenchServer, *, quick: bool) -> list[Figures]:
    """The largest resident memory of one process of 8 threads, whose jobs take a second."""
    backlogs = (1_000, 5_000) if quick else (1_000, 200_000)
    rows: list[Figures] = []
    for name in (STOCK, OURS):
        small, large = (_peak_rss_mb(server, name, backlog) for backlog in backlogs)
        growth = large - small
        rows.append(
            {
                "broker": name,
                f"rss_mb_at_{backlogs[0]}": rounded(small, 1),
                f"rss_mb_at_{backlogs[1]}": rounded(large, 1),
                "growth_mb": at_most(growth, FLAT_MB, 1) if name == OURS else rounded(growth, 1),
            }
        )
    return rows


def _peak_rss_mb(server: BenchServer, name: str, backlog: int) -> float:
    contender = make_contender(server, name)
    contender.fill(backlog, ["q0"], actor="nap", kwargs='{"seconds": 1.0}')
    with fleet(server, contender, processes=1, threads=8, queues=["q0"]) as workers:
        workers.await_all_at_work()
        peak, began_at = 0.0, time.monotonic()
        while time.monotonic() - began_at < WATCHED_SECONDS:
            peak = max(peak, *workers.rss_mb())
            time.sleep(0.05)
    return peak
