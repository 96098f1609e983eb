"""The speed of lens runs: `python -m bench.lens_runs [--json] [--quick]`.

A durable embedded server, the reference platform, and the workers exactly as the Procfile starts them.
Providers are a local server that speaks Ollama's wire format, or the built-in echo.
"""

from __future__ import annotations

from bench.command import main
from bench.lens_run_sections import drain, idle, pickup
from bench.lens_run_sections.platform import prepare_database, worker_command, workers
from bench.report import Figures
from bench.server import bench_server


def run(*, quick: bool) -> Figures:
    """Measure every section, one after the other, and return the report."""
    with bench_server() as server:
        database = prepare_database(server)
        report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
        with workers(server, database, {}) as platform:
            report["pickup_ms"] = pickup.measure(platform, quick=quick)
            report["idle"] = idle.measure(server, platform, quick=quick)
        with workers(server, database, {"ECHO_PROVIDER": "1"}) as platform:
            report["drain_echo"] = drain.measure_echo(platform, quick=quick)
        with workers(server, database, {}, latency_seconds=1.0) as platform:
            report["drain_one_second"] = drain.measure_one_second(platform, quick=quick)
        return report


if __name__ == "__main__":
    main(run, __doc__)
