"""Checks of the work itself: is anybody doing it, is anything stuck, is anything dead."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient

#: Work that waits for longer than this is stuck, if workers are there.
STUCK_SECONDS = 60
#: The platform's health panel calls a worker dead from this age of its heartbeat on.
HEARTBEAT_SECONDS = 30
#: A tick of the minute sweep older than this means that no scheduler runs.
SCHEDULER_SECONDS = 180

#: Lens runs that some worker claimed long ago and that none of ours has.
ORPHANED = (
    "r.status = 'running' AND NOT r.is_async AND r.started_at < now() - interval '10 minutes' AND NOT EXISTS"
    " (SELECT FROM worker.claims c WHERE c.kind = 'lens_run' AND c.job = r.id AND c.state <> 'finished')"
)


def check_workers(patient: Patient) -> Iterator[Finding]:
    """Processes hold a lease."""
    rows = patient.rows(
        """
        SELECT p.worker_id, p.threads, p.lease_until > now() AS alive,
               extract(epoch FROM now() - p.lease_until) AS lost_seconds,
               (SELECT count(*) FROM dramatiq.queue q WHERE q.owner = p.id AND q.state = 'consumed') AS held
        FROM worker.processes p ORDER BY p.worker_id
        """
    )
    alive = [row for row in rows if row["alive"]]
    for row in rows:
        if not row["alive"]:
            yield Finding(
                "workers",
                Level.WARNING,
                f"{row['worker_id']} lost its lease {row['lost_seconds']:.0f} s ago"
                f" with {row['held']} messages in hand",
                "it died, hangs, or can't reach the database; another process takes its messages over",
                "look at its log; restart it if it is still there",
            )
    if alive:
        threads = sum(row["threads"] for row in alive)
        yield Finding("workers", Level.FINE, f"{len(alive)} processes with {threads} threads")
        return
    yield Finding(
        "workers",
        Level.BROKEN,
        "no process holds a lease",
        "nothing takes work",
        "start the `worker` process: lf-worker run worker",
    )


def check_heartbeats(patient: Patient) -> Iterator[Finding]:
    """Processes that hold a lease are alive to the platform's health panel too."""
    if not patient.settings.health_monitoring:
        yield Finding("heartbeats", Level.FINE, "off")
        return
    silent = patient.rows(
        """
        SELECT p.worker_id, extract(epoch FROM now() - h.last_seen_at) AS age
        FROM worker.processes p
        LEFT JOIN platform.api_worker_heartbeats h ON h.worker_id = p.worker_id
        WHERE p.lease_until > now()
          AND coalesce(h.last_seen_at < now() - %s * interval '1 second', true)
        ORDER BY p.worker_id
        """,
        (HEARTBEAT_SECONDS,),
    )
    for row in silent:
        since = "there is none" if row["age"] is None else f"it is {row['age']:.0f} s old"
        yield Finding(
            "heartbeats",
            Level.WARNING,
            f"of {row['worker_id']}: {since}",
            "the platform's health panel calls it dead, though it works",
            "set FEATURE_WORKER_HEALTH_MONITORING=true for the worker processes too, and look for"
            " `heartbeat failed` in their logs",
        )
    if not silent:
        yield Finding("heartbeats", Level.FINE, "fresh")


def check_scheduler(patient: Patient) -> Iterator[Finding]:
    """The minute sweep was done in the last minutes."""
    age = patient.value("SELECT extract(epoch FROM now() - max(begun_at)) FROM worker.ticks")
    if age is not None and age <= SCHEDULER_SECONDS:
        yield Finding("scheduler", Level.FINE, f"last tick {age:.0f} s ago")
        return
    yield Finding(
        "scheduler",
        Level.BROKEN,
        "no tick yet" if age is None else f"last tick {age:.0f} s ago",
        "sweeps find lost tickets, stale jobs and due battles; none runs",
        "start the `scheduler` process: periodiq app.schedules",
    )


def check_queues(patient: Patient) -> Iterator[Finding]:
    """No queue is paused, and none waits for long."""
    quiet = True
    for row in patient.rows("SELECT * FROM worker.queues ORDER BY queue_name"):
        name, age = row["queue_name"], row["oldest_waiting_seconds"]
        if row["paused"]:
            quiet = False
            yield Finding(
                "queues",
                Level.WARNING,
                f"{name} is paused with {row['waiting']} waiting",
                "nothing of it is worked on",
                f"lf-worker queues resume {name}",
            )
        elif age is not None and age > STUCK_SECONDS:
            quiet = False
            yield Finding(
                "queues",
                Level.WARNING,
                f"{name}: {row['waiting']} waiting, the oldest for {age:.0f} s",
                "work comes in faster than it is done, or its kind is switched off",
                "run more worker processes, or turn its PLATFORM_API_..._ENABLED on",
            )
    if quiet:
        yield Finding("queues", Level.FINE, "nothing waits for long")


def check_orphans(patient: Patient) -> Iterator[Finding]:
    """No lens run is running that no worker of ours is at, as another worker leaves them when it dies."""
    rows = patient.rows(
        "SELECT count(*) AS runs, extract(epoch FROM now() - min(r.started_at)) / 60 AS minutes"  # noqa: S608
        " FROM execution.runs r WHERE " + ORPHANED
    )
    if not rows[0]["runs"]:
        yield Finding("orphans", Level.FINE, "no run is left behind")
        return
    yield Finding(
        "orphans",
        Level.WARNING,
        f"{rows[0]['runs']} lens runs are running for up to {rows[0]['minutes']:.0f} min, and not with us",
        "the platform's Node worker is at them, or died of them; then nobody ever ends them",
        f"once no Node worker runs: UPDATE execution.runs r SET status = 'queued' WHERE {ORPHANED}",  # noqa: S608 - for a person to run
    )


def check_dead_letters(patient: Patient) -> Iterator[Finding]:
    """Few jobs failed for good lately."""
    rows = patient.rows(
        """
        SELECT kind, error_code, count(*) AS jobs FROM worker.dead_letters
        WHERE finished_at > now() - interval '1 day' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 5
        """
    )
    for row in rows:
        yield Finding(
            "dead letters",
            Level.WARNING,
            f"{row['jobs']} of {row['kind']} since yesterday: {row['error_code']}",
            "these jobs failed for good",
            f"lf-worker dead-letters list --kind {row['kind']} --code {row['error_code']}",
        )
    if not rows:
        yield Finding("dead letters", Level.FINE, "none since yesterday")


def check_shared_table(patient: Patient) -> Iterator[Finding]:
    """No stock dramatiq-pg consumer takes messages out of our table."""
    strangers = patient.rows(
        """
        SELECT DISTINCT a.application_name FROM pg_stat_activity a
        WHERE a.datname = current_database() AND a.application_name NOT LIKE 'lf-worker%%'
          AND a.query ILIKE '%%LISTEN "dramatiq.%%'
        """
    )
    for row in strangers:
        yield Finding(
            "broker table",
            Level.BROKEN,
            f"{row['application_name'] or 'somebody'} consumes from dramatiq.queue too",
            "stock dramatiq-pg consumers take messages that others hold: jobs would run twice",
            "give that application a schema of its own; its producers may stay",
        )
    if not strangers:
        yield Finding("broker table", Level.FINE, "ours alone")
