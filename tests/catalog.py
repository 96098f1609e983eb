"""The constraints of a platform's tables: as a database's catalog has them, and as a file expects them.

Each is a line of SQL. An expected CHECK or unique key is compared in the form that Postgres gives it, so
spaces, casts and the order of alternatives don't matter. The worker's own tables and triggers are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier

_ALTERNATIVES = re.compile(r"ARRAY\[([^\[\]]*)\]")
_LEFT_OUT = "^(pg_|information_schema|reference_platform|worker|dramatiq)"

_TABLES = """
    SELECT oid::regclass::text, oid FROM pg_class
    WHERE relkind = 'r' AND relnamespace::regnamespace::text !~ %s
"""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
        || CASE WHEN attgenerated <> '' THEN ' generated'
                WHEN atthasdef OR attidentity <> '' THEN ' default' ELSE '' END
    FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""
_UNIQUE = """
    SELECT '(' || (SELECT string_agg(name, ', ' ORDER BY name)
                   FROM generate_series(1, indnkeyatts) AS n, pg_get_indexdef(indexrelid, n, true) AS name)
        || ')' || coalesce(' WHERE ' || pg_get_expr(indpred, indrelid), '')
    FROM pg_index WHERE indisunique AND indrelid = %s
"""
_FOREIGN_KEYS = """
    SELECT replace(pg_get_constraintdef(oid), 'FOREIGN KEY ', '') FROM pg_constraint
    WHERE contype = 'f' AND conrelid = %s
"""
_CHECKS = "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE contype = 'c' AND conrelid = %s"
#: The bits of tgtype: 2 before, 4 insert, 8 delete, 16 update.
_TRIGGERS = """
    SELECT CASE WHEN tgtype & 2 = 2 THEN 'before ' ELSE 'after ' END
        || concat_ws('/', CASE WHEN tgtype & 4 = 4 THEN 'insert' END,
                     CASE WHEN tgtype & 16 = 16 THEN 'update' END,
                     CASE WHEN tgtype & 8 = 8 THEN 'delete' END) || ': ' || tgname
    FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = %s AND tgfoid::regproc::text NOT LIKE 'worker.%%'
"""
_ENUMS = """
    SELECT format_type(enumtypid, NULL), array_agg(enumlabel::text ORDER BY enumsortorder)
    FROM pg_enum GROUP BY enumtypid
"""


@dataclass
class TableSchema:
    """Of one table: its columns with type, NOT NULL and default, and what else holds of a cursor."""

    columns: dict[str, str]
    unique: set[str] = field(default_factory=set)
    foreign_keys: set[str] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)


@dataclass
class Catalog:
    """The tables of a database, by qualified name, and its enumerations."""

    tables: dict[str, TableSchema]
    enums: dict[str, list[str]]


def read_catalog(session: Connection) -> Catalog:
    """The tables of all other schemas; the session's search path must be empty."""
    with session.cursor() as cursor:
        cursor.execute(_TABLES, (_LEFT_OUT,))
        tables = {name: _table_schema(cursor, table) for name, table in cursor.fetchall()}
        cursor.execute(_ENUMS)
        return Catalog(tables, {name: sorted(values) for name, values in cursor.fetchall()})


def expected_catalog(session: Connection, facts: dict[str, Any]) -> Catalog:
    """What a file expects of the tables that the session's database has, in Postgres' own form.

    A CHECK or key over a column that the database lacks keeps the file's form.
    """
    with session.cursor() as cursor:
        cursor.execute(_TABLES, (_LEFT_OUT,))
        present = [name for name, _ in cursor.fetchall() if name in facts["tables"]]
        return Catalog(
            {name: _expected(cursor, name, facts["tables"][name]) for name in present},
            {name: sorted(values) for name, values in facts["enums"].items()},
        )


def differences(actual: Catalog, expected: Catalog) -> Iterator[str]:
    """One line for each thing in which a database's tables aren't what is expected."""
    for name in sorted(actual.tables.keys() - expected.tables.keys()):
        yield f"{name}: unknown table"
    for name in sorted(actual.enums.keys() & expected.enums.keys()):
        if actual.enums[name] != expected.enums[name]:
            yield f"{name}: has {actual.enums[name]} and not {expected.enums[name]}"
    for name, wanted in sorted(expected.tables.items()):
        yield from (f"{name}: {line}" for line in _of_table(actual.tables[name], wanted))


def _of_table(actual: TableSchema, wanted: TableSchema) -> Iterator[str]:
    for column in sorted(actual.columns.keys() | wanted.columns.keys()):
        has, needs = actual.columns.get(column), wanted.columns.get(column)
        if has is None:
            yield f"column {column} is missing"
        elif needs is None:
            yield f"column {column} is extra"
        elif has != needs:
            yield f"column {column} is {has} and not {needs}"
    yield from _of_kind("unique", actual.unique, wanted.unique)
    yield from _of_kind("foreign key", actual.foreign_keys, wanted.foreign_keys)
    yield from _of_kind("check", actual.checks, wanted.checks)
    yield from _of_kind("trigger", actual.triggers, wanted.triggers)


def _of_kind(kind: str, actual: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{kind} {line} is missing" for line in sorted(wanted - actual))
    yield from (f"{kind} {line} is extra" for line in sorted(actual - wanted))


def _table_schema(cursor: Cursor, table: int) -> TableSchema:
    return TableSchema(
        columns=dict(_rows(cursor, _COLUMNS, table)),
        unique={line for (line,) in _rows(cursor, _UNIQUE, table)},
        foreign_keys={line for (line,) in _rows(cursor, _FOREIGN_KEYS, table)},
        checks={_in_order(line) for (line,) in _rows(cursor, _CHECKS, table)},
        triggers={line for (line,) in _rows(cursor, _TRIGGERS, table)},
    )


def _expected(cursor: Cursor, name: str, facts: dict[str, Any]) -> TableSchema:
    schema, table = name.split(".")
    cursor.execute(SQL("CREATE TEMP TABLE expected (LIKE {})").format(Identifier(schema, table)))
    unknown_keys = set(_refused(cursor, "CREATE UNIQUE INDEX ON pg_temp.expected ", facts["unique"], ""))
    unknown_checks = set(
        _refused(cursor, "ALTER TABLE pg_temp.expected ADD CHECK (", facts.get("checks", []), ")")
    )
    cursor.execute("SELECT 'pg_temp.expected'::regclass::oid")
    ((oid,),) = cursor.fetchall()
    understood = _table_schema(cursor, oid)
    cursor.execute("DROP TABLE pg_temp.expected")
    return TableSchema(
        columns=facts["columns"],
        unique=understood.unique | unknown_keys,
        foreign_keys=set(facts.get("foreign_keys", [])),
        checks=understood.checks | unknown_checks,
        triggers=set(facts.get("triggers", [])),
    )


def _refused(cursor: Cursor, before: str, lines: Sequence[str], after: str) -> list[str]:
    """Run each line and give those that name a column or function that isn't there."""
    cursor.execute("SAVEPOINT lines")
    try:
        cursor.execute("".join(f"{before}{line}{after};" for line in lines) or "SELECT")
    except (psycopg2.errors.UndefinedColumn, psycopg2.errors.UndefinedFunction):
        cursor.execute("ROLLBACK TO lines")
        if len(lines) == 1:
            return list(lines)
        return [refused for line in lines for refused in _refused(cursor, before, [line], after)]
    return []


def _rows(cursor: Cursor, statement: str, table: int) -> list[tuple[Any, ...]]:
    cursor.execute(statement, (table,))
    return cursor.fetchall()


def _in_order(check: str) -> str:
    """The same CHECK with the elements of its arrays sorted: `IN (b, a)` is `IN (a, b)`."""
    return _ALTERNATIVES.sub(lambda m: f"ARRAY[{', '.join(sorted(m[1].split(', ')))}]", check)
