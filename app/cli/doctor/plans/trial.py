"""Have the server plan what a function's body consists of, without running any of it.

All of a body is planned by one DO block, in which the body's variables are declared: so PL/pgSQL itself finds
them in each statement. Planning is EXPLAIN's, in a transaction that may only read: nothing is written, no
function with effects is called, and a fault in one statement hides none in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import cursor
from pydantic import BaseModel, TypeAdapter

from app.cli.doctor.plans.bodies import Function
from app.cli.doctor.plans.pieces import Body, Piece
from app.cli.doctor.plans.plpgsql import UnreadableBodyError

#: A plan that takes longer, or waits for somebody's lock for longer, says nothing.
LIMITS = "SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '200ms'"

#: Says nothing of the statement: a lock, a time limit, a record that gets its columns only when it runs, or
#: a body that can't be read.
_UNCLEAR = {"55P03", "57014", "55000", ""}

_FOUND = "lf_worker.found"


@dataclass(frozen=True)
class Fault:
    """Why the server can't plan a statement. `where`: the function's signature, or the statement itself."""

    where: str
    line: int
    statement: str
    sqlstate: str
    message: str

    @property
    def is_clear(self) -> bool:
        """Whether it is the statement's fault, not the moment's."""
        return self.sqlstate not in _UNCLEAR


class _Said(BaseModel):
    piece: int
    sqlstate: str
    message: str


_SAID = TypeAdapter(list[_Said])


def try_function(tx: cursor, function: Function) -> Iterator[Fault]:
    """Plan everything that a function does; `tx` is in a transaction, which is left as it was."""
    try:
        body = function.body()
    except UnreadableBodyError:
        yield Fault(function.signature, 1, "", "", "its body can't be read")
        return
    tx.execute("SAVEPOINT trial")
    try:
        tx.execute("SELECT set_config('search_path', %s, true)", (function.search_path,))
        tx.execute("SET LOCAL check_function_bodies = off")
        tx.execute(block_of(function, body))
        tx.execute("SELECT current_setting(%s)", (_FOUND,))
        row = tx.fetchone()
        said = _SAID.validate_json(row[0]) if row else []
    except psycopg2.Error as error:
        message = (error.diag.message_primary or str(error)).strip()
        yield Fault(function.signature, 1, "", error.pgcode or "XX000", message)
        said = []
    finally:
        tx.execute("ROLLBACK TO SAVEPOINT trial")
    for each in said:
        piece = body.pieces[each.piece]
        yield Fault(
            function.signature,
            piece.line,
            beginning_of(piece.sql),
            each.sqlstate,
            each.message.splitlines()[0],
        )


def beginning_of(sql: str) -> str:
    """The first words of a statement, on one line."""
    words = " ".join(sql.split())
    return words if len(words) <= 60 else words[:59] + "…"


def block_of(function: Function, body: Body) -> str:
    """The DO block that plans a body and leaves what it found in a setting of the transaction."""
    records = {variable.name.lower() for variable in body.variables if variable.type.lower() == "record"}
    declared: dict[str, str] = {}
    for variable in body.variables:
        declared.setdefault(variable.name.lower(), f"{variable.name} {variable.type};")
    name = '"' + function.name.replace('"', '""') + '"'
    trials = (_trial(number, piece, function, records) for number, piece in enumerate(body.pieces))
    return "\n".join(
        [
            "DO $lf_trial$",
            f"{body.directives}<<{name}>>",
            "DECLARE",
            *declared.values(),
            "sqlstate text; sqlerrm text;",  # which only handlers have
            "lf_found jsonb := '[]'; lf_state text; lf_said text; lf_line record;",
            "BEGIN",
            *trials,
            f"PERFORM pg_catalog.set_config('{_FOUND}', lf_found::text, true);",
            "END $lf_trial$",
        ]
    )


def _trial(number: int, piece: Piece, function: Function, records: set[str]) -> str:
    sql = _with_transitions(piece.sql, function)
    parts = [
        f"BEGIN FOR lf_line IN EXPLAIN {sql}\nLOOP EXIT; END LOOP;",
        "EXCEPTION WHEN OTHERS THEN",
        "GET STACKED DIAGNOSTICS lf_state = RETURNED_SQLSTATE, lf_said = MESSAGE_TEXT;",
        f"lf_found := lf_found || jsonb_build_object('piece', {number}, 'sqlstate', lf_state,"
        " 'message', lf_said); END;",
    ]
    if piece.into.lower() in records:
        # A record gets its columns by an assignment; of no rows, so that nothing is run for it.
        parts.append(
            f"BEGIN SELECT * FROM {piece.rows} AS lf_rows WHERE false INTO {piece.into};"  # noqa: S608
            " EXCEPTION WHEN OTHERS THEN NULL; END;"
        )
    return "\n".join(parts)


def _with_transitions(sql: str, function: Function) -> str:
    """The statement with the rows that a trigger has only when it fires, as empty tables."""
    if not function.transitions:
        return sql
    tables = ", ".join(
        f'"{name}" AS (SELECT * FROM {function.relation_name} WHERE false)'  # noqa: S608
        for name in function.transitions
    )
    first, _, rest = sql.partition(" ")
    if first.upper() != "WITH":
        return f"WITH {tables} {sql}"
    is_recursive = rest.lstrip().upper().startswith("RECURSIVE ")
    rest = rest.lstrip()[len("RECURSIVE ") :] if is_recursive else rest
    return f"WITH {'RECURSIVE ' if is_recursive else ''}{tables}, {rest}"


def try_all(tx: cursor, functions: Sequence[Function]) -> Iterator[Fault]:
    """The faults of all functions, in a transaction that may only read and is rolled back."""
    tx.execute("BEGIN READ ONLY")
    try:
        tx.execute(LIMITS)
        for function in functions:
            yield from try_function(tx, function)
    finally:
        tx.execute("ROLLBACK")
