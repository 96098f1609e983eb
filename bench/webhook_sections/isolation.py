"""What an endpoint that hangs, with thousands of rows waiting, costs the others."""

from __future__ import annotations

import time

from app.cli.demo.scenario import percentile
from app.local.receiver import Receiver
from bench.fleet import wait_until
from bench.lens_run_sections.platform import Platform
from bench.report import Figures, at_most
from bench.webhook_sections.outbox import add_rows, count_undelivered, receivers

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.02


def measure(platform: Platform, *, quick: bool) -> Figures:
    """Milliseconds from just before a row's commit to its first request, one row after the other."""
    waiting, count = (500, 50) if quick else (5_000, 300)
    with receivers(20, first=51) as endpoints, Receiver(host="127.0.0.99") as hanging:
        hanging.behave("/", "hang")
        add_rows(platform.session, waiting, [hanging])
        hanging.wait_for_requests(4)
        sent_at = {}
        for number in range(count):
            endpoint = endpoints[number % len(endpoints)]
            sent_at[number] = (endpoint, time.time())
            add_rows(platform.session, 1, [endpoint])
            time.sleep(PAUSE_SECONDS)
        wait_until(
            platform.stack, lambda: not count_undelivered(platform.session, endpoints), TIMEOUT_SECONDS
        )
        waits_ms = _waits_ms(endpoints, sent_at)
        return {
            "rows_at_the_hanging_endpoint": waiting,
            "requests_open_there": at_most(hanging.max_in_flight, 4, 0),
            "others": len(waits_ms),
            "first_attempt_p50_ms": at_most(percentile(waits_ms, 50), 100),
            "first_attempt_p99_ms": at_most(percentile(waits_ms, 99), 1_000),
        }


def _waits_ms(endpoints: list[Receiver], sent_at: dict[int, tuple[Receiver, float]]) -> list[float]:
    """Each endpoint's requests in order of arrival, against its rows in order of insertion."""
    waits_ms = []
    for endpoint in endpoints:
        inserted = [at for to, at in sent_at.values() if to is endpoint]
        arrived = [request.received_at for request in endpoint.requests]
        waits_ms += [(came - began) * 1000 for began, came in zip(inserted, arrived, strict=True)]
    return waits_ms
