"""Functions of the platform's database that workflows may ask: listed, read-only, in their owner's rights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.extensions import cursor
from psycopg2.extras import Json
from psycopg2.sql import SQL, Composed, Identifier
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.errors import GiveUp
from app.platform.json_values import storable

#: How long the database may take over one question, and how many rows it gives.
TIMEOUT_MS = 10_000
MOST_ROWS = 1_000

_FIND = """
    SELECT p.pronargs - p.pronargdefaults AS required,
           array(SELECT jsonb_build_object('name', a.name, 'type', format_type(a.type, NULL))
                 FROM unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes)
                      WITH ORDINALITY AS a (name, type, mode, place)
                 WHERE coalesce(a.mode, 'i') IN ('i', 'b') ORDER BY a.place) AS arguments
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname = %s AND p.prokind = 'f'
    ORDER BY p.pronargs DESC
"""
_ACT_AS = """
    SELECT set_config('request.jwt.claims', %(claims)s, true),
           set_config('request.jwt.claim.role', 'authenticated', true),
           set_config('statement_timeout', %(timeout_ms)s, true)
"""


class _Argument(BaseModel):
    name: str
    type: str


def ask_function(
    database: Database, lenser_id: UUID, function: str, arguments: Mapping[str, JsonValue]
) -> Sequence[JsonValue]:
    """The rows that a function in `public` gives, as its person would see them; at most `MOST_ROWS`.

    Nothing that it does besides is kept: the transaction is read-only.
    Raises GiveUp with a `query.…` code, which tells what the database said.
    """
    try:
        with database.transaction() as tx, _refusing_in_it(function):
            taken = _find(tx, function, arguments)
            _act_as(tx, lenser_id)
            tx.execute(_statement(function, taken), (Json(storable(dict(arguments))), MOST_ROWS))
            return [answer["value"] for answer in _rows(tx)]
    except psycopg2.Error as error:
        raise _refusal(function, error) from None


@contextmanager
def _refusing_in_it(function: str) -> Iterator[None]:
    """Tell what this transaction itself forbids, which speaks neither of the session nor of the database."""
    try:
        yield
    except psycopg2.errors.QueryCanceled:
        raise GiveUp("query.timeout", f"{function} took longer than {TIMEOUT_MS} ms") from None
    except psycopg2.errors.ReadOnlySqlTransaction as error:
        raise _refusal(function, error) from None


def _refusal(function: str, error: psycopg2.Error) -> GiveUp:
    said = (error.diag.message_primary or type(error).__name__).strip()[:200]
    return GiveUp("query.refused", f"{function}: {said}")


def _find(tx: cursor, function: str, given: Mapping[str, JsonValue]) -> list[_Argument]:
    """The arguments that are given, with their types; of functions of one name the first that takes them."""
    tx.execute(_FIND, (function,))
    overloads = _rows(tx)
    if not overloads:
        raise GiveUp("query.unknown", f"the platform has no function {function}")
    for overload in overloads:
        arguments = [_Argument.model_validate(each) for each in overload["arguments"]]
        names = {argument.name for argument in arguments}
        needed = {argument.name for argument in arguments[: overload["required"]]}
        if needed <= given.keys() <= names:
            return [argument for argument in arguments if argument.name in given]
    raise GiveUp("query.arguments", f"{function} takes {', '.join(sorted(names)) or 'no arguments'}")


def _act_as(tx: cursor, lenser_id: UUID) -> None:
    """Give up every right but those of a signed-in person, and the right to change anything."""
    tx.execute("SELECT worker.fn_user_of_lenser(%s) AS user_id", (lenser_id,))
    users = [str(row["user_id"]) for row in _rows(tx) if row["user_id"]]
    user = users[0] if users else None
    claims = json.dumps({"role": "authenticated", "sub": user})
    tx.execute(_ACT_AS, {"claims": claims, "timeout_ms": str(TIMEOUT_MS)})
    tx.execute("SET LOCAL ROLE authenticated")
    tx.execute("SET TRANSACTION READ ONLY")


def _statement(function: str, arguments: Sequence[_Argument]) -> Composed:
    """A call by names; the types come from the catalog, so JSON is read as the function wants it."""
    names = [Identifier(each.name) for each in arguments]
    typed = [SQL("{} {}").format(n, SQL(each.type)) for n, each in zip(names, arguments, strict=True)]
    passed = SQL(", ").join(SQL("{} => given.{}").format(name, name) for name in names)
    source = SQL("jsonb_to_record(%s) AS given ({})").format(SQL(", ").join(typed))
    if not arguments:
        source = SQL("(SELECT %s) AS given").format()
    return SQL("SELECT to_jsonb(answer) AS value FROM {}, LATERAL public.{}({}) AS answer LIMIT %s").format(
        source, Identifier(function), passed
    )


def _rows(tx: cursor) -> list[dict[str, Any]]:
    return [dict(row) for row in tx.fetchall()]
