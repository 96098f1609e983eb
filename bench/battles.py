"""The speed of battles: `python -m bench.battles [--json] [--quick]`.

A durable embedded server, the reference platform, and the workers exactly as the Procfile starts them. The
providers are a local server that takes a second for every answer.
"""

from __future__ import annotations

import time
from uuid import UUID

from app.local.battles import Contender, make_battles, start_battles
from bench.command import main
from bench.fleet import wait_until
from bench.lens_run_sections.platform import (
    MODEL,
    Platform,
    WrongEndError,
    prepare_database,
    worker_command,
    workers,
)
from bench.report import Figures, at_most
from bench.server import bench_server

TIMEOUT_SECONDS = 120.0
ENVIRONMENT = {"PLATFORM_API_BATTLE_WORKER_ENABLED": "true"}

#: Both are served by a local provider, so that no key is looked up.
CONTENDERS = (Contender(MODEL), Contender(MODEL))


def run(*, quick: bool) -> Figures:
    """Measure and return the report."""
    with bench_server() as server:
        database = prepare_database(server)
        report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
        with workers(server, database, ENVIRONMENT, latency_seconds=1.0) as platform:
            report["battles_one_second_provider"] = measure(platform, quick=quick)
    return report


def measure(platform: Platform, *, quick: bool) -> Figures:
    """Seconds from the start of all battles to voting in the last; each has two jobs of one call each."""
    count = 20 if quick else 200
    battles = make_battles(platform.session, count, *CONTENDERS, task_prompt="Praise the sea.")
    platform.providers.max_in_flight = 0
    calls_before = len(platform.providers.calls)
    started_at = time.monotonic()
    start_battles(platform.session)
    wait_until(platform.stack, lambda: not _count(platform, battles, "= 'executing'"), TIMEOUT_SECONDS)
    seconds = time.monotonic() - started_at
    if wrong := count - _count(platform, battles, "= 'voting'"):
        raise WrongEndError(f"{wrong} of {count} battles did not go to the vote")
    return {
        "battles": count,
        "jobs": 2 * count,
        "calls": len(platform.providers.calls) - calls_before,
        "seconds": at_most(seconds, 10),
        "max_in_flight": platform.providers.max_in_flight,
    }


def _count(platform: Platform, battles: list[UUID], status: str) -> int:
    with platform.session.cursor() as row:
        row.execute(
            f"SELECT count(*) FROM battles.battles WHERE id = ANY (%s) AND status {status}", (battles,)
        )
        (count,) = row.fetchone() or (0,)
    return int(count)


if __name__ == "__main__":
    main(run, __doc__)
