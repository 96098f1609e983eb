"""Checks of the functions that the worker calls: there, with these arguments, allowed, and able to run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.sql import SQL, Composed, Identifier

from app.cli.doctor.finding import Finding, Level, Patient
from app.migrations import WORKER, read_steps
from app.statements import FunctionCall, function_calls, python_calls

_SHADOW = re.compile(r"-- Shadow: ((?:.|\n--)*?)\nCREATE (?:OR REPLACE )?FUNCTION worker\.(\w+)\(")
#: A trial that takes longer, or waits for somebody's lock for longer, says nothing.
_TRIAL_LIMITS = "SET LOCAL statement_timeout = '3s'; SET LOCAL lock_timeout = '200ms'"
#: The class of SQLSTATEs that mean a function which can't work: wrong names, types or rights.
_BROKEN_CLASS = "42"
_PLATFORM = "bring the platform's migrations up to date"


@dataclass(frozen=True)
class _Function:
    """A function as the database has it; `names` and `types` are of its arguments that go in."""

    schema: str
    name: str
    names: Sequence[str]
    types: Sequence[str]
    defaults: int
    allowed: bool

    def takes(self, call: FunctionCall) -> bool:
        """Whether the call's arguments fit in number and name."""
        given = call.positional + len(call.named)
        return len(self.types) - self.defaults <= given <= len(self.types) and set(call.named) <= set(
            self.names
        )


def check_functions(patient: Patient) -> Iterator[Finding]:
    """Every function that the worker calls can be called in the way in which it does."""
    known = _read_functions(patient)
    quiet, to_try = True, []
    for call in python_calls() if patient.is_restricted else function_calls():
        function, problem = _resolve(call, known)
        if problem or function is None:
            quiet = False
            yield Finding("functions", Level.BROKEN, problem, "jobs that need it fail", _PLATFORM)
        elif not function.allowed:
            quiet = False
            name = f"{function.schema}.{function.name}({', '.join(function.types)})"
            role = patient.value("SELECT quote_ident(current_user)")
            yield Finding(
                "functions",
                Level.BROKEN,
                f"{call.name} may not be executed",
                "jobs that need it fail",
                f"GRANT EXECUTE ON FUNCTION {name} TO {role}",
            )
        elif function not in to_try:
            to_try.append(function)
    for broken in _try_all(patient, to_try):
        quiet = False
        yield broken
    if quiet:
        yield Finding(
            "functions", Level.FINE, f"all {len(to_try)} there, and tried in a rolled-back transaction"
        )


def check_shadows(patient: Patient) -> Iterator[Finding]:
    """Which functions of the platform the worker replaces by its own, and why."""
    rows = patient.rows("SELECT proname FROM pg_proc WHERE pronamespace = 'worker'::regnamespace")
    installed = {row["proname"] for row in rows}
    for step in read_steps(WORKER.folder):
        for reason, name in _SHADOW.findall(step.sql):
            if name in installed:
                why = " ".join(reason.replace("\n--", " ").split())
                yield Finding("shadows", Level.FINE, f"{name} is the worker's own: {why}")


def _read_functions(patient: Patient) -> dict[str, list[_Function]]:
    """Functions by name, those that an unqualified name finds first in front."""
    names = sorted({call.name.rpartition(".")[2] for call in function_calls()})
    rows = patient.rows(
        """
        SELECT n.nspname, p.proname, p.pronargdefaults, has_function_privilege(p.oid, 'EXECUTE') AS allowed,
               coalesce(p.proargnames[1:p.pronargs], '{}') AS names,
               ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS types
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = ANY (%s)
        ORDER BY array_position(ARRAY['worker', 'public'], n.nspname::text)
        """,
        (names,),
    )
    found: dict[str, list[_Function]] = {}
    for row in rows:
        function = _Function(
            row["nspname"], row["proname"], row["names"], row["types"], row["pronargdefaults"], row["allowed"]
        )
        found.setdefault(f"{function.schema}.{function.name}", []).append(function)
        if function.schema in {"worker", "public"}:
            found.setdefault(function.name, []).append(function)
    return found


def _resolve(call: FunctionCall, known: dict[str, list[_Function]]) -> tuple[_Function | None, str]:
    candidates = known.get(call.name, [])
    if not candidates:
        return None, f"{call.name} is missing"
    for function in candidates:
        if function.takes(call):
            return function, ""
    return None, f"{call.name} has other arguments than the worker passes: {call}"


def _try_all(patient: Patient, functions: Sequence[_Function]) -> Iterator[Finding]:
    """Call each with nothing but NULLs, in a transaction that is rolled back."""
    with patient.session.cursor() as tx:
        tx.execute("BEGIN")
        try:
            tx.execute(_TRIAL_LIMITS)
            for function in functions:
                tx.execute("SAVEPOINT trial")
                problem = ""
                try:
                    tx.execute(_trial(function))
                except psycopg2.Error as error:
                    problem = _what_is_broken(error)
                tx.execute("ROLLBACK TO SAVEPOINT trial")
                if problem:
                    what = f"{function.schema}.{function.name} can't run: {problem}"
                    yield Finding("functions", Level.BROKEN, what, "jobs that need it fail", _PLATFORM)
        finally:
            tx.execute("ROLLBACK")


def _what_is_broken(error: psycopg2.Error) -> str:
    """What is wrong with a function, or nothing where it only refused its arguments or the caller."""
    is_refusal = error.diag.source_function == "exec_stmt_raise"  # RAISE may name any SQLSTATE
    if is_refusal or not (error.pgcode or "").startswith(_BROKEN_CLASS):
        return ""
    return (error.diag.message_primary or "").splitlines()[0]


def _trial(function: _Function) -> Composed:
    return SQL("SELECT * FROM {}.{}({})").format(
        Identifier(function.schema),
        Identifier(function.name),
        SQL(", ").join(SQL(f"NULL::{kind}") for kind in function.types),
    )
