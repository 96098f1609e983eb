"""Our broker beside dramatiq-pg: `python -m bench.broker [--json] [--quick] [--only drain,pickup]`.

Both run in one go on one durable embedded server, each in a database of its own, taking turns section by
section. The server's lock table is sixteen times the default size, because the stock broker would fill it
at some 9,000 messages and stand still; it makes no difference to ours, and the section `locks` measures
both against the default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.command import parser, run_and_show
from bench.report import Figures
from bench.sections import drain, enqueue, floor, idle, locks, memory, mixed, pickup, rescue
from bench.server import BenchServer, bench_server

SECTIONS: dict[str, Callable[..., list[Figures] | Figures]] = {
    "drain": drain.measure,
    "floor": floor.measure,
    "enqueue": enqueue.measure,
    "pickup": pickup.measure,
    "mixed": mixed.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "locks": locks.measure,
    "rescue": rescue.measure,
}


def run(sections: list[str], *, quick: bool) -> Figures:
    """Measure these sections, one after the other, and return the report."""
    with bench_server(max_locks_per_transaction="1024") as server:
        report: Figures = {"machine": _head(server)}
        for name in sections:
            report[name] = SECTIONS[name](server, quick=quick)
        return report


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--only", type=_sections, default=list(SECTIONS), help="sections, by comma")
    options = command.parse_args()
    run_and_show(lambda: run(options.only, quick=options.quick), as_json=options.json)


def _head(server: BenchServer) -> Figures:
    return {**server.describe(), "why_more_locks": "stock fills the default lock table at 9,000 messages"}


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(
            f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return names


if __name__ == "__main__":
    main()
