"""What workers cost that have nothing to do."""

from __future__ import annotations

from bench.idleness import connections, transactions_per_second
from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer


def measure(server: BenchServer, platform: Platform, *, quick: bool) -> Figures:
    """Per process; a query outside a transaction counts as one, and a transaction does too."""
    rate = transactions_per_second(server, platform.database, 3 if quick else 15)
    return {
        "queries_per_second_per_process": at_most(rate / platform.processes, 1),
        "connections_per_process": rounded(connections(server, platform.database) / platform.processes),
        "rss_mb_per_process": rounded(sum(platform.rss_mb()) / platform.processes, 1),
        "processes": platform.processes,
    }
