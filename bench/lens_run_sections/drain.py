"""How fast a backlog of lens runs is worked off, by a provider that answers at once and a slow one."""

from __future__ import annotations

import time

from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_least, at_most

TIMEOUT_SECONDS = 120.0


def measure_echo(platform: Platform, *, quick: bool) -> Figures:
    """Runs finished a second, from the commit of all of them to the end of the last."""
    count = 100 if quick else 2_000
    seconds = _drain(platform, count)
    return {"runs": count, "runs_per_second": at_least(count / seconds, 300, 0)}


def measure_one_second(platform: Platform, *, quick: bool) -> Figures:
    """Seconds until every run has ended, where each call of the provider takes one."""
    count = 64 if quick else 200
    platform.providers.max_in_flight = 0
    seconds = _drain(platform, count)
    return {"runs": count, "seconds": at_most(seconds, 6), "max_in_flight": platform.providers.max_in_flight}


def _drain(platform: Platform, count: int) -> float:
    platform.session.autocommit = False
    runs = platform.queue_runs(count)
    committed_at = time.monotonic()
    platform.session.commit()
    platform.session.autocommit = True
    platform.await_success(runs, TIMEOUT_SECONDS)
    return time.monotonic() - committed_at
