"""What long readers do to the queue: `python -m bench.bloat [--minutes 10] [--json] [--quick]`.

Lens runs come in steadily and the Procfile's workers do them with the echo provider, while two REPEATABLE
READ transactions stay open, so that Postgres may remove nothing that dies meanwhile. Compared are pickups,
from the ticket to the claim, before the readers began and at their end; then the readers end, and dead rows
must go.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing

from psycopg2.extensions import connection

from app.local.platform import enqueue_lens_runs
from bench.command import parser, run_and_show
from bench.lens_run_sections.platform import MODEL, Platform, prepare_database, worker_command, workers
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer, bench_server, open_session

PER_SECOND = 200
READERS = 2

#: Runs that one statement queues; so many a second come in that single ones would be a load of their own.
BATCH = 10

#: The part of the time before the readers begin, and the part at their end that is compared with it.
COMPARED_SHARE = 0.15

#: How soon after the readers the tables have to be clean, and how clean.
CLEAN_SECONDS = 60.0
MOST_DEAD_ROWS = 5_000

_PICKUPS = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY waited) * 1000,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY waited) * 1000, count(*)
    FROM (SELECT extract(epoch FROM first_claimed_at - ticket_at)::float AS waited FROM worker.claims
          WHERE ticket_at >= %s AND ticket_at < %s) AS claims
"""

#: How often dead rows are counted, in the report.
COUNTS = 10

_DEAD_ROWS = """
    SELECT relname, n_dead_tup FROM pg_stat_user_tables
    WHERE schemaname IN ('worker', 'dramatiq') ORDER BY n_dead_tup DESC
"""


class Load(threading.Thread):
    """Queues runs at a steady rate until stopped."""

    def __init__(self, session: connection, per_second: int) -> None:
        super().__init__(name="load", daemon=True)
        self.queued = 0
        self._session = session
        self._per_second = per_second
        self._stopping = threading.Event()

    def run(self) -> None:
        """Queue a batch whenever one is due."""
        began = time.monotonic()
        while not self._stopping.wait(max(0.0, began + self.queued / self._per_second - time.monotonic())):
            enqueue_lens_runs(self._session, BATCH, model=MODEL, inputs={"prompt": "Say hello."})
            self.queued += BATCH

    def stop(self) -> None:
        """Queue no more, and return once the last one is there."""
        self._stopping.set()
        self.join()


def run(*, minutes: float, per_second: int) -> Figures:
    """Measure for so long and return the report."""
    with bench_server() as server:
        database = prepare_database(server)
        report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
        with workers(server, database, {"ECHO_PROVIDER": "1"}) as platform:
            report["bloat"] = _measure(server, platform, minutes * 60, per_second)
            report["dead_rows"] = report["bloat"].pop("dead_rows_over_time")
        return report


def _measure(server: BenchServer, platform: Platform, seconds: float, per_second: int) -> Figures:
    dsn = server.postgres.dsn_for(platform.database)
    compared_seconds = seconds * COMPARED_SHARE
    with ExitStack() as stack:
        load = Load(stack.enter_context(closing(open_session(dsn))), per_second)
        load.start()
        time.sleep(compared_seconds)
        readers = [stack.enter_context(closing(_reader(dsn))) for _ in range(READERS)]
        before = _pickups(platform, compared_seconds)
        dead_over_time = _watch_dead_rows(platform, seconds - compared_seconds)
        after = _pickups(platform, compared_seconds)
        dead_at_worst = sum(_dead_rows(platform).values())
        load.stop()
        for reader in readers:
            reader.close()
        clean_after_seconds = _await_clean(platform)
    return {
        "queued": load.queued,
        "claimed_per_second_at_the_end": rounded(after["claims"] / compared_seconds, 0),
        "pickup_before_ms": before,
        "pickup_after_ms": after,
        "p99_after_over_before": at_most(after["p99"] / before["p99"], 2),
        "wanted_per_second": per_second,
        "queued_per_second": rounded(load.queued / seconds, 0),
        "dead_rows_over_time": dead_over_time,
        "dead_rows_at_worst": dead_at_worst,
        "dead_rows_left": at_most(sum(_dead_rows(platform).values()), MOST_DEAD_ROWS, 0),
        "clean_after_seconds": at_most(clean_after_seconds, CLEAN_SECONDS, 0),
    }


def _reader(dsn: str) -> connection:
    """A transaction that keeps its view of the queue until it is closed."""
    session = open_session(dsn)
    with session.cursor() as row:
        row.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dramatiq.queue")
    return session


def _pickups(platform: Platform, seconds: float) -> Figures:
    """Pickups of the last so many seconds, in milliseconds, but for the very last ones."""
    with platform.session.cursor() as row:
        row.execute("SELECT now() - %s * interval '1 second', now() - interval '1 second'", (seconds,))
        since, until = row.fetchone() or (None, None)
        row.execute(_PICKUPS, (since, until))
        p50, p99, claims = row.fetchone() or (0.0, 0.0, 0)
    return {"p50": rounded(p50), "p99": rounded(p99), "claims": claims}


def _dead_rows(platform: Platform) -> dict[str, int]:
    with platform.session.cursor() as row:
        row.execute("SELECT pg_stat_clear_snapshot()")
        row.execute(_DEAD_ROWS)
        return dict(row.fetchall())


def _watch_dead_rows(platform: Platform, seconds: float) -> list[Figures]:
    """Count the dead rows of each table that has any, every so often for so long."""
    counted: list[Figures] = []
    began = time.monotonic()
    for count in range(1, COUNTS + 1):
        while (left := began + seconds * count / COUNTS - time.monotonic()) > 0:
            platform.stack.check()
            time.sleep(min(1.0, left))
        dead = {table: rows for table, rows in _dead_rows(platform).items() if rows}
        counted.append({"after_seconds": rounded(time.monotonic() - began, 0), **dead})
    return counted


def _await_clean(platform: Platform) -> float | None:
    began = time.monotonic()
    while (waited := time.monotonic() - began) < 2 * CLEAN_SECONDS:
        platform.stack.check()
        if sum(_dead_rows(platform).values()) < MOST_DEAD_ROWS:
            return waited
        time.sleep(1)
    return None


def main() -> None:
    command = parser(__doc__, quick="half a minute: does it work, not does it hold")
    command.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    command.add_argument("--per-second", type=int, default=PER_SECOND, help="lens runs that come in")
    options = command.parse_args()
    minutes = 0.5 if options.quick else options.minutes
    run_and_show(lambda: run(minutes=minutes, per_second=options.per_second), as_json=options.json)


if __name__ == "__main__":
    main()
