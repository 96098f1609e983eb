"""What receivers see of workers that are killed while they deliver."""

from __future__ import annotations

import os
import signal
from collections import Counter

from app.local.stack import Stack
from bench.fleet import wait_until
from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_most
from bench.webhook_sections.outbox import add_rows, count_undelivered, receivers

TIMEOUT_SECONDS = 90.0
LATENCY_SECONDS = 0.2


def measure(survivor: Platform, doomed: Stack, *, quick: bool) -> Figures:
    """Lost webhooks, and how often one id came in, when `doomed` is killed a third of the way."""
    count = 100 if quick else 600
    with receivers(8, first=101, latency_seconds=LATENCY_SECONDS) as endpoints:
        add_rows(survivor.session, count, endpoints)
        wait_until(
            survivor.stack, lambda: sum(len(each.requests) for each in endpoints) > count / 3, TIMEOUT_SECONDS
        )
        os.killpg(doomed.processes["worker"].pid, signal.SIGKILL)
        wait_until(
            survivor.stack, lambda: not count_undelivered(survivor.session, endpoints), TIMEOUT_SECONDS
        )
        seen = Counter(request.id for endpoint in endpoints for request in endpoint.requests)
        return {
            "webhooks": count,
            "lost": at_most(count - len(seen), 0, 0),
            "repeated": sum(times > 1 for times in seen.values()),
            "most_repeats_of_one_id": at_most(max(seen.values()) - 1, 1, 0),
        }
