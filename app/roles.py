"""A database role with what the worker's own statements need and no more, for workers that aren't the owner.

The functions of the schema `worker` run in the rights of their owner then, the platform's, and the role may
call those of them that workers and commands call. So it needs no right on any table of the platform: it can
do to the platform's rows what the worker does, and nothing else. What it gets is read off the statements of
this package, see `app.statements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import LiteralString

import psycopg2
from psycopg2.extensions import connection, cursor
from psycopg2.sql import SQL, Identifier

from app.errors import DatabaseError
from app.statements import own_names, own_touches, python_calls

#: Roles that are the platform's own or Postgres', each with uses of its own.
TAKEN = frozenset({"anon", "authenticated", "service_role", "postgres", "authenticator", "public"})

#: Our functions, and which the role needs: no triggers, but what views call, in the rights of the reader.
_OWN_FUNCTIONS = """
    SELECT p.oid::regprocedure::text AS signature, p.prosecdef AS is_privileged,
           coalesce(path.setting, '') AS path,
           p.proname = ANY (%(names)s) AND p.prorettype <> 'trigger'::regtype
           OR EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite v ON v.oid = d.objid
                      WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = p.oid) AS is_needed
    FROM pg_proc p
    LEFT JOIN LATERAL (
        SELECT substr(c, length('search_path=') + 1) AS setting FROM unnest(p.proconfig) AS c
        WHERE c LIKE 'search\\_path=%%') AS path ON true
    WHERE p.pronamespace = 'worker'::regnamespace AND p.prokind = 'f'
    ORDER BY 1
"""
#: The platform's functions that Python calls; without a schema they are those in `public` without a shadow.
_PLATFORM_FUNCTIONS = """
    SELECT p.oid::regprocedure::text, n.nspname
    FROM unnest(%s) AS called (name)
    JOIN pg_proc p ON p.proname = split_part(called.name, '.', -1)
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname NOT IN ('worker', 'pg_catalog')
      AND (called.name = n.nspname || '.' || p.proname
           OR called.name = p.proname AND n.nspname = 'public'
              AND NOT EXISTS (SELECT FROM pg_proc w WHERE w.pronamespace = 'worker'::regnamespace
                                                      AND w.proname = p.proname))
    ORDER BY 1
"""
_PROBLEMS = """
    SELECT r.rolsuper AS is_superuser, pg_has_role(r.oid, c.relowner, 'MEMBER') AS is_owner,
           has_schema_privilege(r.oid, 'public', 'CREATE') AS creates
    FROM pg_roles r, pg_class c WHERE r.rolname = %s AND c.oid = 'worker.claims'::regclass
"""
#: What an earlier version needed is taken away first.
_TAKE_AWAY: tuple[LiteralString, ...] = (
    "REVOKE ALL ON ALL TABLES IN SCHEMA worker, dramatiq FROM {}",
    "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA worker, dramatiq FROM {}",
    "GRANT USAGE ON SCHEMA worker, dramatiq, public TO {}",
)


def grant_role(dsn: str, role: str) -> list[str]:
    """Give a role what the worker needs, and remember it for later migrations; returns the rights in words.

    `dsn` is the owner's. A role that isn't there is made, without a password. Raises `DatabaseError` for a
    role that is the platform's own or may do more than this could take back.
    """
    if role in TAKEN or not role.strip():
        raise DatabaseError(f"{role!r} is not for workers: choose a name that nobody uses yet")
    try:
        with closing(_connect(dsn)) as session, session, session.cursor() as tx:
            return list(_grant(tx, role))
    except psycopg2.Error as error:
        raise DatabaseError(f"can't give {role} its rights: {_first_line(error)}") from None


def grant_remembered_roles(dsn: str) -> list[str]:
    """Give every role that was granted before what this version needs; returns their names."""
    with closing(_connect(dsn)) as session, session.cursor() as row:
        row.execute("SELECT w.name FROM worker.roles w JOIN pg_roles r ON r.rolname = w.name ORDER BY w.name")
        names = [str(name) for (name,) in row.fetchall()]
    for name in names:
        grant_role(dsn, name)
    return names


def is_restricted(session: connection) -> bool:
    """Whether a session's role may use our schema and yet doesn't own it."""
    with session.cursor() as row:
        row.execute(
            "SELECT has_schema_privilege(oid, 'USAGE') AND NOT has_schema_privilege(oid, 'CREATE')"
            " FROM pg_namespace WHERE nspname = 'worker'"
        )
        return bool((row.fetchone() or (False,))[0])


def missing_rights(session: connection) -> list[str]:
    """What the session's own role lacks of what this version of the worker needs."""
    with session.cursor() as row:
        row.execute(_OWN_FUNCTIONS, {"names": list(own_names())})
        functions = [signature for signature, _, _, is_needed in row.fetchall() if is_needed]
        row.execute(_PLATFORM_FUNCTIONS, ([call.name for call in python_calls()],))
        functions += [signature for signature, _ in row.fetchall()]
        row.execute(
            "SELECT 'EXECUTE ON FUNCTION ' || f FROM unnest(%s) AS f"
            " WHERE NOT has_function_privilege(f, 'EXECUTE')",
            (functions,),
        )
        missing = [str(right) for (right,) in row.fetchall()]
        for table, privilege in own_touches():
            row.execute("SELECT has_table_privilege(to_regclass(%s), %s)", (table, privilege))
            if (row.fetchone() or (None,))[0] is False:
                missing.append(f"{privilege} ON {table}")
    return missing


def _connect(dsn: str) -> connection:
    """A session whose words for functions have their schemas."""
    session = psycopg2.connect(dsn, application_name="lf-worker roles", connect_timeout=10)
    with session, session.cursor() as row:
        row.execute("SELECT set_config('search_path', '', false)")
    return session


def _grant(tx: cursor, role: str) -> Iterator[str]:
    name = Identifier(role)
    yield from _make(tx, role)
    for statement in _TAKE_AWAY:
        tx.execute(SQL(statement).format(name))
    tx.execute(_OWN_FUNCTIONS, {"names": list(own_names())})
    for signature, is_privileged, path, is_needed in tx.fetchall():
        _have_owner_run(tx, signature, is_privileged, path)
        if is_needed:
            tx.execute(SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(SQL(signature), name))
            yield f"EXECUTE ON FUNCTION {signature}"
    tx.execute(_PLATFORM_FUNCTIONS, ([call.name for call in python_calls()],))
    for signature, schema in tx.fetchall():
        tx.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), name))
        tx.execute(SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(SQL(signature), name))
        yield f"EXECUTE ON FUNCTION {signature}"
    for table, privilege in own_touches():
        tx.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        if (tx.fetchone() or (False,))[0]:
            tx.execute(SQL("GRANT {} ON {} TO {}").format(SQL(privilege), SQL(table), name))
            yield f"{privilege} ON {table}"
    tx.execute(
        "INSERT INTO worker.roles (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET granted_at = now()",
        (role,),
    )


def _make(tx: cursor, role: str) -> Iterator[str]:
    tx.execute(_PROBLEMS, (role,))
    found = tx.fetchone()
    if found is None:
        tx.execute(SQL("CREATE ROLE {} LOGIN NOINHERIT").format(Identifier(role)))
        yield "LOGIN"
        tx.execute(_PROBLEMS, (role,))
        found = tx.fetchone()
    is_superuser, is_owner, creates = found or (False, False, False)
    if is_superuser or is_owner:
        raise DatabaseError(f"{role} is a superuser or the owner: there is nothing to restrict it to")
    if creates:
        raise DatabaseError(
            f"{role} may create objects in the schema public, and with them mislead functions that run as the"
            f" owner: REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}"
        )


def _have_owner_run(tx: cursor, signature: str, is_privileged: bool, path: str) -> None:
    """Have a function run as its owner, on a search path that the caller's temporary objects come last in.

    Postgres looks for types and tables in them first otherwise, where a caller can plant its own. A function
    without a path touches nothing and is left alone, so that it can be inlined.
    """
    if not path or (is_privileged and "pg_temp" in path):
        return
    schemas = "pg_catalog" if path == '""' else path
    tx.execute(
        SQL("ALTER FUNCTION {} SECURITY DEFINER SET search_path = {}").format(
            SQL(signature), SQL(f"{schemas}, pg_temp")
        )
    )


def _first_line(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or str(error)).strip().splitlines()[0]
