"""Check of Supabase Realtime: it can be reached, and lets the worker join."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient
from app.phoenix.channel import Timing
from app.phoenix.subscription import LOSSES, find_endpoint, subscribe_once
from app.redaction import redact

#: Less patience than the realtime process has: a person waits for the answer.
PATIENCE = Timing(connect=5.0, join=5.0, subscribe=15.0)
#: For all of it, whatever the server does meanwhile.
TOTAL_SECONDS = 25.0


def check_realtime(patient: Patient) -> Iterator[Finding]:
    """The worker can subscribe to the changes that the realtime process listens to."""
    endpoint = find_endpoint(patient.settings)
    if endpoint is None:
        yield Finding("realtime", Level.FINE, "hints come from the database's own notifications")
        return
    try:
        asyncio.run(asyncio.wait_for(subscribe_once(endpoint, PATIENCE), TOTAL_SECONDS))
    except LOSSES as loss:
        reason = redact(str(loss) or f"no answer within {TOTAL_SECONDS:.0f} s", endpoint.api_key)
        yield Finding(
            "realtime",
            Level.WARNING,
            f"can't subscribe at {endpoint.project_url}: {reason.splitlines()[0]}",
            "votes and battle events are found by looking every 15 s instead of at once",
            "check SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and that Realtime is on,"
            " or set WORKER_REALTIME_SOURCE=postgres",
        )
    else:
        yield Finding("realtime", Level.FINE, f"subscribed at {endpoint.project_url}")
