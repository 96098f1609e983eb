"""The same by plpgsql_check, which also follows a function's branches and types, where the server has it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import cursor

from app.cli.doctor.finding import Patient
from app.cli.doctor.plans.trial import LIMITS, Fault, beginning_of

_WHERE_IT_IS = """
    SELECT x.extnamespace::regnamespace::text
    FROM pg_available_extensions a LEFT JOIN pg_extension x ON x.extname = a.name
    WHERE a.name = 'plpgsql_check'
"""
_MAKE = "SET LOCAL search_path = worker; CREATE EXTENSION plpgsql_check"
_CHECK = """
    SELECT p.oid::regprocedure::text, coalesce(c.lineno, 1), coalesce(c.query, c.statement, ''), c.sqlstate,
           c.message
    FROM pg_proc p
    LEFT JOIN LATERAL (
        SELECT DISTINCT ON (g.tgrelid) g.tgrelid, g.tgnewtable, g.tgoldtable FROM pg_trigger g
        WHERE g.tgfoid = p.oid AND NOT g.tgisinternal ORDER BY g.tgrelid, g.tgnewtable
    ) t ON true,
    LATERAL {}.plpgsql_check_function_tb(
        p.oid, coalesce(t.tgrelid, 0), fatal_errors => false, other_warnings => false,
        extra_warnings => false, performance_warnings => false, security_warnings => false,
        newtable => t.tgnewtable, oldtable => t.tgoldtable) AS c
    WHERE p.pronamespace = 'worker'::regnamespace AND c.level = 'error'
      AND p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'plpgsql')
      AND (p.prorettype <> 'trigger'::regtype OR t.tgrelid IS NOT NULL)
"""


def check_by_extension(patient: Patient) -> list[Fault] | None:
    """The faults that plpgsql_check finds in the schema `worker`; None where it can't be had.

    Where it is only available, it is made in the transaction, which is rolled back.
    """
    with patient.session.cursor() as tx:
        tx.execute("BEGIN")
        try:
            tx.execute(LIMITS)
            schema = _find(tx)
            return None if schema is None else list(_check(tx, schema))
        except psycopg2.Error:
            return None  # no right to it, a server that only reads, or an old version with other arguments
        finally:
            tx.execute("ROLLBACK")


def _find(tx: cursor) -> str | None:
    tx.execute(_WHERE_IT_IS)
    row = tx.fetchone()
    if row is None:
        return None
    if row[0] is not None:
        return str(row[0])
    tx.execute(_MAKE)
    return "worker"


def _check(tx: cursor, schema: str) -> Iterator[Fault]:
    tx.execute("SET LOCAL search_path = ''")
    tx.execute(_CHECK.format(schema))
    for signature, line, statement, sqlstate, message in tx.fetchall():
        yield Fault(signature, line, beginning_of(statement), sqlstate, message.splitlines()[0])
