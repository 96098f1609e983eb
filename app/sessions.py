"""Sessions with Postgres, set up the way the worker and the platform's functions expect.

Every session runs with `search_path = worker, public`, so that a shadow in `worker` wins over the
platform's function of the same name, and with the JWT claims of the service role, which some of the
platform's functions check. Timestamps are always the database's own.

What the worker relies on is set in the session, whatever ALTER DATABASE or ALTER ROLE says, and by statement:
poolers refuse startup parameters. Only `default_transaction_read_only` is left alone, since a database that
was set read only is out of space or about to be replaced.
"""

from __future__ import annotations

import psycopg2
from psycopg2.errorcodes import READ_ONLY_SQL_TRANSACTION
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection
from psycopg2.extras import register_default_jsonb, register_uuid

from app.errors import DatabaseAway
from app.outages import in_one_line, telling_outages
from app.settings import settings

register_uuid()
register_default_jsonb(globally=True)

_SET_UP_SESSION = """
    SELECT current_setting('transaction_read_only') = 'on',
           set_config('search_path', 'worker, public', false),
           set_config('request.jwt.claims', '{"role":"service_role"}', false),
           set_config('request.jwt.claim.role', 'service_role', false),
           set_config('TimeZone', 'UTC', false),
           set_config('IntervalStyle', 'postgres', false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('default_transaction_deferrable', 'off', false),
           set_config('statement_timeout', %(timeout_ms)s, false),
           set_config('lock_timeout', '0', false),
           set_config('idle_in_transaction_session_timeout', %(timeout_ms)s, false),
           set_config('synchronous_commit', %(synchronous_commit)s, false),
           (SELECT count(set_config(name, '0', false)) FROM unnest(ARRAY[
                'idle_session_timeout', 'transaction_timeout']) AS timeout (name)
            WHERE current_setting(name, true) IS NOT NULL)
"""
#: Keepalives notice a lost network while nothing is under way; this does while a statement or a commit is.
UNANSWERED_MS = 60_000
#: Postgres knows the session's role by number, and not at all once the role was dropped and made again.
_ASK_ROLE = "SELECT current_user, session_user"
#: What a session without rights is told: names that it can't see are not there.
_RIGHTS_CLASSES = frozenset({"0P", "3F", "42"})
#: A pooler would hand the server's session to the next client as it is, and that may be us.
_END_BEHIND_POOLER = "SELECT pg_terminate_backend(pg_backend_pid()) WHERE pg_backend_pid() <> %s"


def connect(dsn: str, application_name: str, *, durable: bool = True, writable: bool = False) -> connection:
    """Open a session in autocommit mode, ready for the platform's functions.

    With `durable=False` commits don't wait for the disk: a crash of the server may undo the last of them.
    Raises `DatabaseAway` where the server can't be reached or takes no session now, and with `writable` where
    it is read only: the session would stay so when the database no longer is.
    """
    with telling_outages():
        session, is_read_only = _connect(dsn, application_name, durable=durable)
    if writable and is_read_only:
        discard(session)
        raise DatabaseAway("the database is read only", sqlstate=READ_ONLY_SQL_TRANSACTION)
    return session


def discard(session: connection) -> None:
    """Close a session that is not to be used again, by anybody."""
    try:
        if not session.closed:
            session.rollback()
            with session.cursor() as row:
                row.execute(_END_BEHIND_POOLER, (session.info.backend_pid,))
    except psycopg2.Error:
        pass  # it has ended, which is all that was wanted
    finally:
        session.close()


def _connect(dsn: str, application_name: str, *, durable: bool) -> tuple[connection, bool]:
    """A session that is set up, and whether it is read only."""
    opened = psycopg2.connect(
        dsn,
        application_name=application_name,
        connect_timeout=10,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=UNANSWERED_MS,
    )
    try:
        opened.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        opened.set_client_encoding("UTF8")
        with opened.cursor() as row:
            row.execute(
                _SET_UP_SESSION,
                {
                    "timeout_ms": str(settings().database_statement_timeout_ms),
                    "synchronous_commit": "on" if durable else "off",
                },
            )
            is_read_only = (row.fetchone() or (False,))[0]
    except BaseException:
        opened.close()
        raise
    return opened, is_read_only


def is_alive(session: connection) -> bool:
    """Notice without a round trip that the server ended an idle session."""
    try:
        session.poll()
        session.poll()  # the first one still succeeds after the server has hung up
    except psycopg2.Error:
        return False
    return not session.closed


def stale_role(session: connection, error: psycopg2.Error) -> DatabaseAway | None:
    """Why a session may be refused what a new one may do: its role was dropped and made again."""
    if (error.pgcode or "")[:2] not in _RIGHTS_CLASSES:
        return None
    try:
        with session.cursor() as row:
            row.execute(_ASK_ROLE)
    except psycopg2.Error as stale:
        return DatabaseAway(in_one_line(stale), sqlstate=stale.pgcode)
    return None
