"""What passes by itself and what is refused for good, as a real server raises it and the pool tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import DatabaseAway
from app.migrations import migrate
from app.roles import grant_remembered_roles
from app.sessions import connect
from tests.doubles.poolers import session_pooler
from tests.sql import call

#: Another session is needed.
LOST = """
    08000 08001 08003 08004 08006 08007 08P01 25006 25P03 25P04 28000 28P01 53000 53100 53200 53300 53400
    57000 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 72000 HV00N XX000
"""
#: The session is as good as before.
MOMENTS = "40000 40001 40003 40P01 55006 55P03 57014"
#: Trying again would end the same way.
REFUSED = """
    0A000 0P000 21000 22001 22003 22P02 22P05 23502 23503 23505 23514 25001 25P02 26000 34000 3D000 3F000
    40002 42501 42601 42703 42804 42883 42P01 42P10 44000 54000 54001 55000 P0001 P0002 P0004 XX001 XX002
"""

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{}'; END $$"


@pytest.fixture
def pool(dsn: str) -> Iterator[Database]:
    """A pool of two, which opens its sessions without patience."""
    with closing(Database(dsn, max_connections=2, wait_seconds=0.0, application_name="lf-worker pool")) as it:
        yield it


@pytest.fixture
def database_setting(superuser: Connection, dsn: str) -> Iterator[Callable[[str], None]]:
    """Runs `ALTER DATABASE … ` with the given words."""
    name = urlsplit(dsn).path[1:]
    return lambda words: superuser.cursor().execute(f"ALTER DATABASE {name} {words}")


def pid(pool: Database) -> int:
    return int(pool.call("SELECT pg_backend_pid() AS pid")[0]["pid"])


@pytest.mark.parametrize("codes", [LOST, MOMENTS], ids=["lost", "moments"])
def test_what_passes_by_itself_is_told_as_such(pool: Database, codes: str) -> None:
    for code in codes.split():
        for ask in (pool.call, lambda statement: in_transaction(pool, statement)):
            before = pid(pool)
            with pytest.raises(DatabaseAway) as told:
                ask(RAISE.format(code))
            assert (told.value.sqlstate, told.value.session_is_good) == (code, codes is MOMENTS)
            assert str(told.value).startswith("said")
            assert (pid(pool) == before) is (codes is MOMENTS), f"session after {code}"


def test_what_is_refused_for_good_keeps_its_name_and_its_session(pool: Database) -> None:
    before = pid(pool)
    for code in REFUSED.split():
        for ask in (pool.call, lambda statement: in_transaction(pool, statement)):
            with pytest.raises(psycopg2.Error) as told:
                ask(RAISE.format(code))
            assert told.value.pgcode == code
    assert pid(pool) == before


def in_transaction(pool: Database, statement: str) -> None:
    with pool.transaction() as tx:
        tx.execute(statement)


def test_a_pool_that_is_used_up_passes(pool: Database) -> None:
    with pool.transaction(), pool.transaction(), pytest.raises(DatabaseAway, match="no database connection"):
        pool.call("SELECT 1")


def test_a_server_that_is_not_there_passes() -> None:
    for dsn in ("postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@no-such-host.invalid/none"):
        with pytest.raises(DatabaseAway) as told:
            Database(dsn, max_connections=1, wait_seconds=0.0).call("SELECT 1")
        assert told.value.sqlstate is None


def test_sessions_rely_on_nothing_that_the_database_or_role_sets(
    pool: Database, database_setting: Callable[[str], None], superuser: Connection
) -> None:
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "lock_timeout = '1ms'",
        "statement_timeout = '0'",
        "idle_in_transaction_session_timeout = '0'",
        "idle_session_timeout = '1min'",
        "synchronous_commit = off",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Kathmandu'",
        "client_encoding = 'latin1'",
        "search_path = 'pg_catalog'",
    ):
        database_setting(f"SET {setting}")
    with pool.transaction() as tx:
        tx.execute(
            """
            SELECT current_setting('transaction_isolation') AS isolation,
                   current_setting('transaction_deferrable') AS deferrable,
                   current_setting('lock_timeout') AS lock,
                   current_setting('statement_timeout') AS statement,
                   current_setting('idle_in_transaction_session_timeout') AS idle_in_transaction,
                   current_setting('idle_session_timeout') AS idle,
                   current_setting('synchronous_commit') AS commit,
                   current_setting('client_encoding') AS encoding,
                   current_setting('search_path') AS path,
                   interval '1 day 2 hours' AS span, '✓' AS sign
            """
        )
        found = dict(tx.fetchone() or {})
    assert found.pop("span").total_seconds() == 26 * 3600
    assert found == {
        "isolation": "read committed",
        "deferrable": "off",
        "lock": "0",
        "statement": "1min",
        "idle_in_transaction": "1min",
        "idle": "0",
        "commit": "on",
        "encoding": "UTF8",
        "path": "worker, public",
        "sign": "✓",
    }


def test_a_database_that_is_set_read_only_is_left_so_and_no_session_of_then_is_used_after(
    pool: Database, database_setting: Callable[[str], None]
) -> None:
    write = "UPDATE worker.kinds SET kind = kind"
    pool.call(write)
    database_setting("SET default_transaction_read_only = on")
    pool.close()
    for _ in range(2):
        with pytest.raises(DatabaseAway, match="the database is read only") as told:
            pool.call(write)
        assert told.value.sqlstate == "25006"
    database_setting("RESET default_transaction_read_only")
    with pool.transaction() as one, pool.transaction() as other:
        one.execute(write)
        other.execute("SELECT current_setting('transaction_read_only') AS it")
        assert [row["it"] for row in other.fetchall()] == ["off"]


def test_sessions_that_became_read_only_while_they_were_open_fail_once(pool: Database) -> None:
    """As those of a server that another one took over from. Of two, the first to fail tells of both."""
    write = "UPDATE worker.kinds SET kind = kind"
    with pool.transaction() as one, pool.transaction() as other:
        for tx in (one, other):
            tx.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseAway) as told:
        pool.call(write)
    assert told.value.sqlstate == "25006"
    with pool.transaction() as one, pool.transaction() as other:
        one.execute(write)
        other.execute("UPDATE worker.migrations SET number = number")


def test_a_session_that_was_in_use_when_another_went_bad_is_not_used_again(pool: Database) -> None:
    with pool.transaction() as in_use:
        in_use.execute("SELECT pg_backend_pid() AS pid")
        (seen,) = (row["pid"] for row in in_use.fetchall())
        with pytest.raises(DatabaseAway):
            pool.call(RAISE.format("25006"))
    assert pid(pool) != seen


def test_a_read_only_database_can_still_be_looked_at(
    dsn: str, database_setting: Callable[[str], None]
) -> None:
    database_setting("SET default_transaction_read_only = on")
    with closing(connect(dsn, "lf-worker command")) as session:
        assert call(session, "SHOW default_transaction_read_only") == "on"


def test_a_pooler_keeps_no_session_that_went_bad(dsn: str, superuser: Connection) -> None:
    """The server's session is ended, since a pooler would hand it to its next client as it is."""
    with (
        session_pooler(dsn) as address,
        closing(
            Database(address, max_connections=1, wait_seconds=5.0, application_name="lf-worker pooled")
        ) as pool,
    ):
        seen = pid(pool)
        with pytest.raises(DatabaseAway):
            pool.call(RAISE.format("XX000"))
        assert (
            call(superuser, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state <> 'idle'", seen)
            == 0
        )
        assert pid(pool) != seen


def test_no_session_needs_startup_parameters_that_poolers_refuse(dsn: str) -> None:
    with session_pooler(dsn) as address:
        with pytest.raises(psycopg2.OperationalError, match="unsupported startup parameter"):
            psycopg2.connect(address, options="-c search_path=worker")
        with closing(connect(address, "lf-worker command")) as session:
            assert call(session, "SHOW search_path") == "worker, public"
            # A lost network is noticed while a commit is under way too.
            assert session.info.dsn_parameters["tcp_user_timeout"] == "60000"
        assert migrate(address) == []
        assert grant_remembered_roles(address) == []


def test_a_role_that_was_made_again_costs_one_try(dsn: str, superuser: Connection) -> None:
    role = f"lf_remade_{uuid4().hex}"

    def make() -> None:
        superuser.cursor().execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA worker TO {role};"
            f"GRANT SELECT ON worker.kinds TO {role}"
        )

    def drop() -> None:
        superuser.cursor().execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    make()
    target = urlsplit(dsn)
    own = target._replace(netloc=f"{role}:secret@{target.netloc.rpartition('@')[2]}").geturl()
    try:
        with closing(Database(own, max_connections=2, wait_seconds=0.0)) as pool:
            read = "SELECT count(*) AS kinds FROM worker.kinds"
            with pool.transaction(), pool.transaction():
                pass
            drop()
            make()
            with pytest.raises(DatabaseAway):
                pool.call(read)
            assert pool.call(read)[0]["kinds"] > 0
            assert in_transaction(pool, read) is None
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                pool.call("DELETE FROM worker.kinds")
    finally:
        with suppress(psycopg2.Error):
            drop()
