"""What a platform's tables demand of their rows, as a database's catalog has it or as a file states it.

Each demand is a line of SQL. Of a stated CHECK or unique key, what Postgres makes of it is compared, so that
spaces, casts and the order of alternatives don't matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import connection, cursor
from psycopg2.sql import SQL, Identifier

_ALTERNATIVES = re.compile(r"ARRAY\[([^\[\]]*)\]")
_NOT_OURS = "^(pg_|information_schema|reference_platform)"

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
    FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = %s
"""
_ENUMS = """
    SELECT format_type(enumtypid, NULL), array_agg(enumlabel::text ORDER BY enumsortorder)
    FROM pg_enum GROUP BY enumtypid
"""


@dataclass
class Demands:
    """Of one table: its columns with type, NOT NULL and default, and what else holds of a row."""

    columns: dict[str, str]
    unique: set[str] = field(default_factory=set)
    foreign_keys: set[str] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)


@dataclass
class Catalog:
    """The tables of a database, by qualified name, and its enumerations."""

    tables: dict[str, Demands]
    enums: dict[str, list[str]]


def read_catalog(session: connection) -> Catalog:
    """Everything outside Postgres' own schemas; the session's search path must be empty."""
    with session.cursor() as row:
        row.execute(_TABLES, (_NOT_OURS,))
        tables = {name: _demands(row, table) for name, table in row.fetchall()}
        row.execute(_ENUMS)
        return Catalog(tables, {name: sorted(values) for name, values in row.fetchall()})


def stated_catalog(session: connection, facts: dict[str, Any]) -> Catalog:
    """What a file states, for the tables that the session's database has, in Postgres' own words.

    A CHECK or key over a column that the database lacks keeps the file's words.
    """
    with session.cursor() as row:
        row.execute(_TABLES, (_NOT_OURS,))
        present = [name for name, _ in row.fetchall() if name in facts["tables"]]
        return Catalog(
            {name: _stated(row, name, facts["tables"][name]) for name in present},
            {name: sorted(values) for name, values in facts["enums"].items()},
        )


def differences(actual: Catalog, stated: Catalog) -> Iterator[str]:
    """One line for each thing in which a database's tables aren't what is stated."""
    for name in sorted(actual.tables.keys() - stated.tables.keys()):
        yield f"{name}: unknown table"
    for name in sorted(actual.enums.keys() & stated.enums.keys()):
        if actual.enums[name] != stated.enums[name]:
            yield f"{name}: has {actual.enums[name]} and not {stated.enums[name]}"
    for name, wanted in sorted(stated.tables.items()):
        yield from (f"{name}: {line}" for line in _of_table(actual.tables[name], wanted))


def _of_table(actual: Demands, wanted: Demands) -> Iterator[str]:
    for column in sorted(actual.columns.keys() | wanted.columns.keys()):
        has, needs = actual.columns.get(column), wanted.columns.get(column)
        if has is None:
            yield f"column {column} is missing"
        elif needs is None:
            yield f"column {column} is its own"
        elif has != needs:
            yield f"column {column} is {has} and not {needs}"
    yield from _of_kind("unique", actual.unique, wanted.unique)
    yield from _of_kind("foreign key", actual.foreign_keys, wanted.foreign_keys)
    yield from _of_kind("check", actual.checks, wanted.checks)
    yield from _of_kind("trigger", actual.triggers, wanted.triggers)


def _of_kind(kind: str, actual: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{kind} {line} is missing" for line in sorted(wanted - actual))
    yield from (f"{kind} {line} is its own" for line in sorted(actual - wanted))


def _demands(row: cursor, table: int) -> Demands:
    return Demands(
        columns=dict(_rows(row, _COLUMNS, table)),
        unique={line for (line,) in _rows(row, _UNIQUE, table)},
        foreign_keys={line for (line,) in _rows(row, _FOREIGN_KEYS, table)},
        checks={_in_order(line) for (line,) in _rows(row, _CHECKS, table)},
        triggers={line for (line,) in _rows(row, _TRIGGERS, table)},
    )


def _stated(row: cursor, name: str, facts: dict[str, Any]) -> Demands:
    schema, table = name.split(".")
    row.execute(SQL("CREATE TEMP TABLE stated (LIKE {})").format(Identifier(schema, table)))
    unknown_keys = set(_refused(row, "CREATE UNIQUE INDEX ON pg_temp.stated ", facts["unique"], ""))
    unknown_checks = set(
        _refused(row, "ALTER TABLE pg_temp.stated ADD CHECK (", facts.get("checks", []), ")")
    )
    row.execute("SELECT 'pg_temp.stated'::regclass::oid")
    ((oid,),) = row.fetchall()
    understood = _demands(row, oid)
    row.execute("DROP TABLE pg_temp.stated")
    return Demands(
        columns=facts["columns"],
        unique=understood.unique | unknown_keys,
        foreign_keys=set(facts.get("foreign_keys", [])),
        checks=understood.checks | unknown_checks,
        triggers=set(facts.get("triggers", [])),
    )


def _refused(row: cursor, before: str, lines: Iterable[str], after: str) -> Iterator[str]:
    """Run each line and yield those that name a column or function that isn't there."""
    for line in lines:
        row.execute("SAVEPOINT line")
        try:
            row.execute(before + line + after)
        except (psycopg2.errors.UndefinedColumn, psycopg2.errors.UndefinedFunction):
            row.execute("ROLLBACK TO line")
            yield line


def _rows(row: cursor, statement: str, table: int) -> list[tuple[Any, ...]]:
    row.execute(statement, (table,))
    return row.fetchall()


def _in_order(check: str) -> str:
    """The same CHECK with the elements of its arrays sorted: `IN (b, a)` is `IN (a, b)`."""
    return _ALTERNATIVES.sub(lambda m: f"ARRAY[{', '.join(sorted(m[1].split(', ')))}]", check)
