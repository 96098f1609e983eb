"""No UPDATE or DELETE is without WHERE: Supabase may load `safeupdate`, which refuses such statements.

The extension can't be loaded into the embedded server, so the statements themselves are read: those of our
migrations, of function bodies and dynamic SQL in them, and those in Python.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.migrations import WORKER, read_steps

ROOT = Path(__file__).parents[2]
#: What production runs; the rooms for a developer's machine are left out.
ROOMS = ("app", "actors", "schedules", "realtime")
ONLY_LOCAL = ("app/local/", "app/cli/demo/")

_STATEMENT = re.compile(
    r"\b(?:DELETE\s+FROM\s+(?:ONLY\s+)?[\w.%{}]+"
    r"|UPDATE\s+(?:ONLY\s+)?(?!SET\b)[\w.%{}]+(?:\s+(?:AS\s+)?(?!SET\b)\w+)?\s+SET)\b",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def unguarded(sql: str) -> list[str]:
    """The statements without a WHERE of their own, each by its beginning."""
    return [beginning for beginning, has_where in statements(sql) if not has_where]


def statements(sql: str) -> Iterator[tuple[str, bool]]:
    """Every UPDATE and DELETE, also in dynamic SQL, and whether it has a WHERE of its own."""
    plain = re.sub(r"--[^\n]*", "", sql)
    for literal in _LITERAL.findall(plain):
        yield from statements(literal.replace("''", "'"))
    plain = _LITERAL.sub("''", plain)
    for found in _STATEMENT.finditer(plain):
        yield found.group(), "WHERE" in _own_words(plain[found.end() :])


def _own_words(rest: str) -> set[str]:
    """The words up to the end of the statement, without those in parentheses."""
    depth, own = 0, []
    for char in rest:
        depth += (char == "(") - (char == ")")
        if depth < 0 or char == ";":
            break
        own.append(char if depth == 0 and char != ")" else " ")
    return set("".join(own).upper().split())


def sql_in_python(source: str) -> Iterator[str]:
    """Every text in a module, with a word in place of what an f-string inserts."""
    inserted: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inserted.update(id(part) for part in node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inserted:
            yield node.value


def test_every_statement_of_our_migrations_says_which_rows() -> None:
    steps = read_steps(WORKER.folder)
    assert sum(1 for step in steps for _ in statements(step.sql)) > 50
    assert {step.path.name: found for step in steps if (found := unguarded(step.sql))} == {}


def test_every_statement_in_python_says_which_rows() -> None:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    seen = 0
    for path in paths:
        if not path.relative_to(ROOT).as_posix().startswith(ONLY_LOCAL):
            for text in sql_in_python(path.read_text(encoding="utf-8")):
                seen += sum(1 for _ in statements(text))
                assert unguarded(text) == [], path.name
    assert seen >= 3


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("DELETE FROM worker.claims", 1),
        ("DELETE FROM worker.claims c USING x WHERE c.id = x.id", 0),
        ("UPDATE a.b SET x = (SELECT y FROM z WHERE true); SELECT 1 WHERE true", 1),
        ("UPDATE a.b AS c SET x = 1 FROM d WHERE c.id = d.id", 0),
        ("WITH gone AS (DELETE FROM a RETURNING id) SELECT * FROM gone WHERE true", 1),
        ("INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET x = 1", 0),
        ("SELECT 1 FOR UPDATE SKIP LOCKED", 0),
        ("EXECUTE format('UPDATE %s SET x = ''WHERE'' ', t)", 1),
        ("-- DELETE FROM a\nSELECT 1", 0),
    ],
    ids=str,
)
def test_the_reader_tells_guarded_from_unguarded(sql: str, count: int) -> None:
    assert len(unguarded(sql)) == count
