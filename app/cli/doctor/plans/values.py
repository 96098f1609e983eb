"""Check that the platform's columns take the values that we write, by the rules of each column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import cursor
from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL, Composable, Identifier

from app.cli.doctor.finding import Finding, Level, Patient
from app.cli.doctor.plans.bodies import Function
from app.cli.doctor.plans.given import GIVEN
from app.cli.doctor.plans.sources import own_functions
from app.cli.doctor.plans.trial import LIMITS
from app.cli.doctor.plans.written import written_by

_COLUMNS = """
    SELECT w.name, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
           coalesce(array_agg(pg_get_expr(c.conbin, c.conrelid))
                    FILTER (WHERE c.oid IS NOT NULL), '{}') AS rules
    FROM (SELECT %s AS name, %s AS relation, %s AS attribute) AS w
    JOIN pg_attribute a ON a.attrelid = to_regclass(w.relation) AND a.attname = w.attribute
        AND NOT a.attisdropped
    LEFT JOIN pg_constraint c ON c.conrelid = a.attrelid AND c.contype = 'c' AND c.conkey = ARRAY[a.attnum]
    GROUP BY 1, 2, 3, a.attrelid, a.attnum
"""


@dataclass(frozen=True)
class Column:
    """A column with its type, and the CHECK constraints on it alone."""

    name: str
    column: str
    type: str
    rules: tuple[str, ...]

    def refuses(self, tx: cursor, value: str) -> str:
        """Why the column doesn't take a value, or nothing. `tx` is in a transaction."""
        tx.execute("SAVEPOINT rule")
        try:
            tx.execute(self._question(), (value,))
            held = tx.fetchone()
        except psycopg2.Error as error:
            return f"{error.pgcode} {(error.diag.message_primary or str(error)).splitlines()[0]}"
        finally:
            tx.execute("ROLLBACK TO SAVEPOINT rule")
        broken = [rule for rule, is_kept in zip(self.rules, held or (), strict=False) if is_kept is False]
        return f"23514 CHECK ({broken[0]})" if broken else ""

    def _question(self) -> Composable:
        """Each rule, of a row that has the value in this column alone."""
        rules = SQL(", ").join(SQL(f"({rule.replace('%', '%%')})") for rule in self.rules or ("true",))
        given = SQL(f"SELECT %s::{self.type} AS {{}}").format(Identifier(self.column))
        return SQL("SELECT {} FROM (SELECT * FROM ({}) AS v OFFSET 0) AS v").format(rules, given)


def check_values(patient: Patient) -> Iterator[Finding]:
    """Words that we write, such as statuses, are among those that their columns take."""
    if patient.is_restricted:
        yield Finding("values", Level.FINE, "not looked at: only the platform's owner can")
        return
    written = written_values(own_functions(patient))
    count = 0
    is_quiet = True
    with patient.session.cursor() as tx:
        columns = list(find_columns(patient, written))
        tx.execute("BEGIN READ ONLY")
        try:
            tx.execute(LIMITS)
            for column in columns:
                for value, places in written[column.name].items():
                    count += 1
                    reason = column.refuses(tx, value)
                    if reason:
                        is_quiet = False
                        yield _refused(column, value, places, reason)
        finally:
            tx.execute("ROLLBACK")
    if is_quiet:
        yield Finding("values", Level.FINE, f"{count} words that are written are taken by their columns")


def written_values(functions: Iterable[Function]) -> dict[str, dict[str, list[str]]]:
    """By `schema.table.column` the values that are written, and by each of these where."""
    found: dict[str, dict[str, list[str]]] = {
        name: {value: ["the worker's code"] for value in values} for name, values in GIVEN.items()
    }
    for function in functions:
        for written in written_by(function):
            if not written.is_tried:
                values = found.setdefault(f"{written.table}.{written.column}", {})
                for value in written.values:
                    values.setdefault(value, []).append(written.where)
    return found


def find_columns(patient: Patient, names: Iterable[str]) -> Iterator[Column]:
    """The columns of these names that there are, but for those that somebody has locked."""
    with patient.session.cursor(cursor_factory=RealDictCursor) as tx:
        for name in sorted(names):
            tx.execute(f"BEGIN READ ONLY; SET LOCAL search_path = ''; {LIMITS}")
            try:
                tx.execute(_COLUMNS, (name, *name.rsplit(".", 1)))
                for row in tx.fetchall():
                    yield Column(row["name"], row["column"], row["type"], tuple(row["rules"]))
            except psycopg2.errors.LockNotAvailable:
                continue  # its rules can't be read without a lock
            finally:
                tx.execute("ROLLBACK")


def _refused(column: Column, value: str, places: Sequence[str], reason: str) -> Finding:
    return Finding(
        "values",
        Level.BROKEN,
        f"{column.name} doesn't take '{value}': {reason}; written by {', '.join(dict.fromkeys(places))}",
        "jobs that write it fail, even after they were paid for",
        f"allow '{value}' there, or deploy the worker that was made for this platform",
    )
