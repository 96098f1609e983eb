"""Checks of the connection itself: where it leads, what it can hear, and as whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from app.broker.notifications import Notifications, WakeUp
from app.cli.doctor.finding import Finding, Level, Patient
from app.migrations import OLDEST_POSTGRES
from app.roles import missing_rights

#: Clocks further apart than this make log lines and Retry-After dates misleading.
MAX_SKEW_SECONDS = 5.0

#: Connections that one worker process, with its siblings, the scheduler and realtime, may hold.
CONNECTIONS_PER_PROCESS = 6
#: Share of max_connections that the worker should leave to everybody else.
FAIR_SHARE = 0.5
#: Share of max_connections from which on the next deploy may find none.
FULL_SHARE = 0.9

_LOCAL = {"localhost", "127.0.0.1", "::1", ""}


def check_server(patient: Patient) -> Iterator[Finding]:
    """The server is one that the migrations are written for."""
    version = patient.session.server_version // 10_000
    if version < OLDEST_POSTGRES:
        yield Finding(
            "server",
            Level.BROKEN,
            f"PostgreSQL {version}",
            f"the SQL needs PostgreSQL {OLDEST_POSTGRES} or newer",
            "upgrade the server",
        )
    else:
        yield Finding("server", Level.FINE, f"PostgreSQL {version}")


def check_pooler(patient: Patient) -> Iterator[Finding]:
    """The session stays on one backend and hears its notifications."""
    backends = {patient.value("SELECT pg_backend_pid()") for _ in range(5)}
    hears = Notifications(patient.session, WakeUp()).arrive()
    if hears and len(backends) == 1:
        # A pooler gives its clients numbers of its own; only the server's is that of the process.
        is_direct = backends == {patient.session.get_backend_pid()}
        yield Finding("connection", Level.FINE, "direct" if is_direct else "through a pooler in session mode")
        return
    yield Finding(
        "connection",
        Level.BROKEN,
        "a pooler in transaction mode",
        "no notification arrives and session settings get lost, so functions of the platform refuse",
        "use the direct connection or the pooler's session mode (port 5432) in DATABASE_URL"
        + (" instead of port 6543" if patient.session.info.port == 6543 else ""),
    )


def check_tls(patient: Patient) -> Iterator[Finding]:
    """A connection that leaves the machine is encrypted."""
    host = patient.session.info.host
    encrypted = patient.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    if encrypted or host in _LOCAL or host.startswith("/"):
        yield Finding("tls", Level.FINE, "encrypted" if encrypted else "not encrypted, on this machine")
        return
    yield Finding(
        "tls",
        Level.WARNING,
        "not encrypted",
        "keys and prompts cross the network in clear",
        "add ?sslmode=verify-full&sslrootcert=... to DATABASE_URL",
    )


def check_role(patient: Patient) -> Iterator[Finding]:
    """The role may do what the worker does."""
    role = patient.rows(
        """
        SELECT current_user AS name, c.oid IS NOT NULL AS has_platform,
               coalesce(pg_has_role(current_user, c.relowner, 'USAGE'), false) AS owns,
               r.rolbypassrls OR r.rolsuper AS bypasses
        FROM pg_roles r
        LEFT JOIN pg_namespace n ON n.nspname = 'execution'
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'runs'
        WHERE r.rolname = current_user
        """
    )[0]
    if not role["has_platform"]:
        yield Finding(
            "role",
            Level.BROKEN,
            "there is no execution.runs",
            "this is not a LenserFight database",
            "check DATABASE_URL; for a try-out run `lf-worker dev`",
        )
    elif patient.is_restricted:
        yield from _check_restricted_role(patient, role["name"])
    elif not (role["owns"] and role["bypasses"]):
        yield Finding(
            "role",
            Level.BROKEN,
            f"{role['name']} is not the owner of the platform's tables, or is held back by row security",
            "claims and results are written to tables that only the owner may write",
            "connect as the owner (Supabase: postgres), or as a role of `lf-worker migrate --role NAME`",
        )
    else:
        yield Finding("role", Level.FINE, f"{role['name']}, the platform's owner")


def _check_restricted_role(patient: Patient, name: str) -> Iterator[Finding]:
    missing = missing_rights(patient.session)
    if missing:
        yield Finding(
            "role",
            Level.BROKEN,
            f"{name} lacks {len(missing)} rights, such as {missing[0]}",
            "jobs that need them fail",
            f"lf-worker migrate --role {name}, as the platform's owner",
        )
    else:
        yield Finding("role", Level.FINE, f"{name}, with what the worker needs and no more")


def check_clock(patient: Patient) -> Iterator[Finding]:
    """This machine's clock agrees with the database's."""
    before = datetime.now(UTC)
    theirs = patient.value("SELECT clock_timestamp()")
    skew_seconds = abs((theirs - before).total_seconds())
    if skew_seconds > MAX_SKEW_SECONDS:
        yield Finding(
            "clock",
            Level.WARNING,
            f"{skew_seconds:.0f} s apart from the database's",
            "due times are the database's and stay right; logs and provider dates will mislead",
            "turn on time synchronisation (NTP) on this machine",
        )
    else:
        yield Finding("clock", Level.FINE, "in step with the database's")


def check_budget(patient: Patient) -> Iterator[Finding]:
    """The running processes leave connections for everybody else."""
    limit = int(patient.value("SELECT current_setting('max_connections')"))
    processes = patient.value("SELECT count(*) FROM worker.processes WHERE lease_until > now()")
    needed = max(processes, 1) * CONNECTIONS_PER_PROCESS
    used = patient.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    what = f"{processes} processes need up to {needed} of {limit} connections; {used} are in use"
    if needed > limit * FAIR_SHARE or used > limit * FULL_SHARE:
        yield Finding(
            "connections",
            Level.WARNING,
            what,
            "the platform's own requests could find none left",
            "run fewer worker processes, or lower WORKER_DATABASE_POOL_MAX_CONNECTIONS",
        )
    else:
        yield Finding("connections", Level.FINE, what)
