"""Wait until every process of the demo's stack can do its part."""

from __future__ import annotations

import time

from psycopg2.extensions import connection

from app.local.stack import Stack

POLL_SECONDS = 0.05

#: Workers hold a lease while they are alive. Realtime listens once it has begun to hear of votes: one that
#: was cast long ago, as those of the demo's honest voters say of themselves, it would not look for later.
_IS_READY = """
    SELECT EXISTS (SELECT FROM worker.processes WHERE lease_until > now())
       AND EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'lf-worker realtime'
                     AND query LIKE 'LISTEN%%')
"""


def await_stack(session: connection, stack: Stack) -> None:
    """Return when a worker takes work and realtime hears of votes; raises `StackError` if a process ends."""
    while True:
        stack.check()
        with session.cursor() as row:
            row.execute(_IS_READY, ())
            if row.fetchone() == (True,):
                return
        time.sleep(POLL_SECONDS)
