"""The speed and the isolation of webhooks: `python -m bench.webhooks [--json] [--quick]`.

A durable embedded server, the reference platform, the workers exactly as the Procfile starts them, and
local receivers, each on a loopback address of its own (Linux answers on all of 127.0.0.0/8).
"""

from __future__ import annotations

from bench.command import main
from bench.lens_run_sections.platform import prepare_database, worker_command, workers
from bench.report import Figures
from bench.server import bench_server
from bench.webhook_sections import drain, isolation, kills
from bench.webhook_sections.outbox import ENVIRONMENT


def run(*, quick: bool) -> Figures:
    """Measure every section, one after the other, and return the report."""
    with bench_server() as server:
        database = prepare_database(server)
        report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
        with workers(server, database, ENVIRONMENT) as platform:
            report["drain"] = drain.measure(platform, quick=quick)
            report["isolation"] = isolation.measure(platform, quick=quick)
        with (
            workers(server, database, ENVIRONMENT) as doomed,
            workers(server, database, ENVIRONMENT) as survivor,
        ):
            report["kills"] = kills.measure(survivor, doomed.stack, quick=quick)
        return report


if __name__ == "__main__":
    main(run, __doc__)
