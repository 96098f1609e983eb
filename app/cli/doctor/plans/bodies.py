"""Functions as the catalog has them, with what their bodies may refer to: arguments, and a trigger's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from psycopg2.extras import RealDictCursor

from app.cli.doctor.finding import Patient
from app.cli.doctor.plans.pieces import Body, Variable
from app.cli.doctor.plans.plpgsql import read_plpgsql, read_sql

_READ = """
    SELECT p.oid, p.oid::regprocedure::text AS signature, n.nspname AS schema, p.proname AS name,
           l.lanname AS language, p.prosrc AS source, t.relation, t.relation::regclass::text AS relation_name,
           t.transitions,
           coalesce((SELECT substr(c, 13) FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\\_path=%%'),
                    'worker, public') AS search_path,
           coalesce(p.proargnames, '{}') AS names,
           ARRAY(SELECT format_type(a, NULL)
                 FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) AS a) AS types
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN LATERAL (
        SELECT DISTINCT ON (g.tgrelid) g.tgrelid AS relation,
               array_remove(ARRAY[g.tgnewtable, g.tgoldtable], NULL) AS transitions
        FROM pg_trigger g WHERE g.tgfoid = p.oid AND NOT g.tgisinternal ORDER BY g.tgrelid, g.tgnewtable
    ) t ON true
    WHERE l.lanname IN ('sql', 'plpgsql') AND p.prosrc <> '' AND p.prokind IN ('f', 'p')
      AND (p.prorettype <> 'trigger'::regtype OR t.relation IS NOT NULL)
"""
_TRIGGER_VARIABLES = (
    Variable("tg_name", "name"),
    Variable("tg_when", "text"),
    Variable("tg_level", "text"),
    Variable("tg_op", "text"),
    Variable("tg_relid", "oid"),
    Variable("tg_relname", "name"),
    Variable("tg_table_name", "name"),
    Variable("tg_table_schema", "name"),
    Variable("tg_nargs", "integer"),
    Variable("tg_argv", "text[]"),
)
_PSEUDO_TYPES = {
    "anyelement": "text", "anynonarray": "text", "anyarray": "text[]", "anycompatible": "text",
    "anycompatiblearray": "text[]", "record": "record",
}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """A function, once for each table that it is a trigger of.

    `source`: its body. `transitions`: names under which a statement's rows are seen, all of `relation`.
    """

    oid: int
    name: str
    signature: str
    search_path: str
    language: str
    source: str
    arguments: tuple[Variable, ...]
    relation: int | None = None
    relation_name: str | None = None
    transitions: tuple[str, ...] = ()

    def body(self) -> Body:
        """The body taken apart, with every variable that it may name."""
        own = _read(self.language, self.source)
        given = list(self.arguments)
        if self.relation_name is not None:
            row = f"{self.relation_name}%ROWTYPE"
            given += [Variable("new", row), Variable("old", row), *_TRIGGER_VARIABLES]
        return Body(own.directives, [*given, *own.variables], own.pieces)


@lru_cache(maxsize=4096)
def _read(language: str, source: str) -> Body:
    return read_sql(source) if language == "sql" else read_plpgsql(source)


def functions_where(patient: Patient, condition: str, values: Mapping[str, object]) -> list[Function]:
    """Functions for which a condition holds.

    It may name p (pg_proc), n (pg_namespace) and t (a trigger's table).
    """
    with patient.session.cursor(cursor_factory=RealDictCursor) as tx:
        # Without a search path, the catalog gives every name with its schema.
        tx.execute("BEGIN READ ONLY; SET LOCAL search_path = ''")
        try:
            tx.execute(f"{_READ} AND ({condition}) ORDER BY 2, t.relation", values)
            return [_function(dict(row)) for row in tx.fetchall()]
        finally:
            tx.execute("ROLLBACK")


def _function(row: dict[str, object]) -> Function:
    names, types = _texts(row["names"]), _texts(row["types"])
    return Function(
        oid=int(str(row["oid"])),
        name=str(row["name"]),
        signature=str(row["signature"]),
        search_path=str(row["search_path"]),
        language=str(row["language"]),
        source=str(row["source"]),
        arguments=tuple(_arguments(names, types)),
        relation=None if row["relation"] is None else int(str(row["relation"])),
        relation_name=None if row["relation_name"] is None else str(row["relation_name"]),
        transitions=tuple(_texts(row["transitions"] or [])),
    )


def _texts(values: object) -> list[str]:
    assert isinstance(values, list)
    return [str(value) for value in values]


def _arguments(names: Sequence[str], types: Sequence[str]) -> list[Variable]:
    """Each argument under its name, if it has one, and under its number."""
    found = []
    for number, kind in enumerate(types, start=1):
        name = names[number - 1] if number <= len(names) else ""
        plain = _PSEUDO_TYPES.get(kind, kind)
        if name:
            found += [Variable(_quoted(name), plain), Variable(f'"${number}"', f"ALIAS FOR {_quoted(name)}")]
        else:
            found.append(Variable(f'"${number}"', plain))
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
