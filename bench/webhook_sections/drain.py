"""How fast a backlog for healthy endpoints is delivered."""

from __future__ import annotations

import time

from bench.fleet import wait_until
from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_least
from bench.webhook_sections.outbox import add_rows, count_undelivered, receivers

TIMEOUT_SECONDS = 120.0
ENDPOINTS = 20


def measure(platform: Platform, *, quick: bool) -> Figures:
    """Webhooks a second, from the commit of all rows to the end of the last, over twenty endpoints."""
    count = 200 if quick else 2_000
    with receivers(ENDPOINTS) as endpoints:
        began = time.monotonic()
        add_rows(platform.session, count, endpoints)
        wait_until(
            platform.stack, lambda: not count_undelivered(platform.session, endpoints), TIMEOUT_SECONDS
        )
        seconds = time.monotonic() - began
        ids = [request.id for endpoint in endpoints for request in endpoint.requests]
        return {
            "webhooks": count,
            "per_second": at_least(count / seconds, 150, 0),
            "requests": len(ids),
            "distinct_ids": at_least(len(set(ids)), count, 0),
            "max_in_flight_per_host": max(endpoint.max_in_flight for endpoint in endpoints),
        }
