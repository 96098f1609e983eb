"""How long a single lens run waits: from just before its row is committed to the provider's call."""

from __future__ import annotations

import time

from app.cli.demo.scenario import percentile
from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_most

RUN_SECONDS = 20.0


def measure(platform: Platform, *, quick: bool) -> Figures:
    """One run at a time, each after the end of the one before; both clocks are this machine's monotonic."""
    pickups_ms = [_one(platform) for _ in range(20 if quick else 200)]
    return {
        "p50": at_most(percentile(pickups_ms, 50), 15),
        "p99": at_most(percentile(pickups_ms, 99), 60),
        "n": len(pickups_ms),
    }


def _one(platform: Platform) -> float:
    calls = len(platform.providers.calls)
    platform.session.autocommit = False
    runs = platform.queue_runs(1)
    committed_at = time.monotonic()
    platform.session.commit()
    platform.session.autocommit = True
    call = platform.providers.wait_for_calls(calls + 1, RUN_SECONDS)[calls]
    platform.await_success(runs, RUN_SECONDS)
    return (call.received_at - committed_at) * 1000
