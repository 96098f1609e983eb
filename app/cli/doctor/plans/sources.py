"""What there is to plan: our functions, what Python sends, and what the platform runs when we write."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.cli.doctor.finding import Patient
from app.cli.doctor.plans.bodies import Function, functions_where
from app.cli.doctor.plans.pieces import Variable
from app.statements import function_calls, issued_statements, touched_tables

_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?s")
_SEARCH_PATH = "worker, public"
_WRITES = {"INSERT", "UPDATE", "DELETE"}

#: What a kind's row has run; each is given a job's id.
_KINDS = """
    SELECT k.kind, s.key AS name, s.value AS sql
    FROM worker.kinds k, jsonb_each_text(to_jsonb(k)) AS s
    WHERE s.value ~ '^\\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\\s' ORDER BY 1, 2
"""

#: Triggers of others on tables that we write to, and functions of others that we call. Those that make
#: temporary tables can't be planned before these are there.
_THEIRS = """
    n.nspname NOT IN ('worker', 'dramatiq', 'pg_catalog', 'information_schema')
    AND p.prosrc !~* '\\mcreate\\s+(local\\s+)?temp'
    AND (t.relation IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name)
         OR (t.relation IS NULL
             AND (n.nspname || '.' || p.proname = ANY (%(called)s)
                  OR (n.nspname = 'public' AND p.proname = ANY (%(called)s)
                      AND NOT EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname
                                      AND o.pronamespace = 'worker'::regnamespace)))))
"""


def own_functions(patient: Patient) -> list[Function]:
    """Every function of the schema `worker`, and the statements that its table of kinds holds."""
    functions = functions_where(patient, "n.nspname = 'worker'", {})
    kinds = [
        _statement(f"worker.kinds, {row['kind']}.{row['name']}", row["sql"], Variable('"$1"', "uuid"))
        for row in patient.rows(_KINDS)
    ]
    return [*functions, *kinds]


def sent_statements() -> Iterator[Function]:
    """What Python sends, with nothing in place of every value."""
    for sent in issued_statements():
        plain = _PLACEHOLDER.sub("NULL", sent.sql).replace("%%", "%")
        yield _statement(f"{sent.path}:{sent.line}", plain)


def their_functions(patient: Patient) -> list[Function]:
    """Functions of the platform that run when we call them, or when we write."""
    tables = [table for table, privilege in touched_tables() if privilege in _WRITES]
    called = [call.name for call in function_calls()]
    return functions_where(patient, _THEIRS, {"tables": tables, "called": called})


def _statement(where: str, sql: str, *arguments: Variable) -> Function:
    return Function(
        oid=0,
        name="statement",
        signature=where,
        search_path=_SEARCH_PATH,
        language="sql",
        source=sql,
        arguments=arguments,
    )
