"""What the worker wants of the database, read off its own statements: functions to call, tables to touch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from app.migrations import WORKER, read_steps

#: Packages whose statements run in production.
_ROOMS = ("app", "actors", "schedules", "realtime")
#: What only runs on a developer's machine or by hand.
_ASIDE = {"app/local", "app/cli"}
#: What only runs on a developer's machine, or as the platform's owner.
_NEVER_AS_THE_WORKER = {"app/local", "app/cli/demo", "app/migrations.py", "app/roles.py"}

_CALL = re.compile(r"((?:\b[a-z]+\.)?\bfn_[a-z_]+)\(")
#: Statements that name functions without calling them.
_NO_CALL = re.compile(r"(?is)\b(?:GRANT|REVOKE|COMMENT ON)\b[^;]*;|\bFUNCTION\s+[\w.]+\(")
_NAMED = re.compile(r"\s*(\w+)\s*(?:=>|:=)")
_TABLE = r"([a-z]+\.[a-z_]+)\b(?!\()"
_TOUCHES = {
    "SELECT": re.compile(rf"\b(?:FROM|JOIN)\s+{_TABLE}"),
    "INSERT": re.compile(rf"\bINSERT INTO\s+{_TABLE}"),
    "UPDATE": re.compile(rf"\bUPDATE\s+{_TABLE}"),
    "DELETE": re.compile(rf"\bDELETE FROM\s+{_TABLE}"),
}
_OURS = ("worker.", "dramatiq.")
#: How a text in Python begins that is a whole statement.
_WHOLE = re.compile(r"\s*(?:SELECT\s|WITH\s+\w+\s+AS\s|INSERT\s+INTO\s|UPDATE\s+\S+\s|DELETE\s+FROM\s)")
_WORKER_FUNCTION = re.compile(r"\bworker\.([a-z_]+)\b|(?<![\w.])(fn_[a-z_]+)\(")


@dataclass(frozen=True, order=True)
class FunctionCall:
    """How a function is called: its name, with the schema if the statement gives one, and its arguments."""

    name: str
    positional: int
    named: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(['…'] * self.positional + list(self.named))})"


@dataclass(frozen=True)
class IssuedStatement:
    """A statement as a module of ours has it, with psycopg2's placeholders."""

    path: str
    line: int
    sql: str


@lru_cache(maxsize=1)
def function_calls() -> tuple[FunctionCall, ...]:
    """Every way in which a function is called."""
    calls = {call for text in _statements() for call in _calls_in(text)}
    return tuple(sorted(calls))


@lru_cache(maxsize=1)
def touched_tables() -> tuple[tuple[str, str], ...]:
    """Tables outside our schemas with a privilege that is needed on each; not all of them need exist."""
    return tuple(sorted(_touches(_statements(), ours=False)))


@lru_cache(maxsize=1)
def python_calls() -> tuple[FunctionCall, ...]:
    """The ways in which Python itself calls functions in production, those of our SQL left out."""
    return tuple(sorted({call for text in _texts_of(_ASIDE) for call in _calls_in(text)}))


@lru_cache(maxsize=1)
def python_touches() -> tuple[tuple[str, str], ...]:
    """Tables outside our schemas that Python itself touches in production, each with a privilege."""
    return tuple(sorted(_touches(_texts_of(_ASIDE), ours=False)))


@lru_cache(maxsize=1)
def own_touches() -> tuple[tuple[str, str], ...]:
    """Tables and views of our schemas that workers and commands touch from Python, each with a privilege."""
    return tuple(sorted(_touches(_texts_of(_NEVER_AS_THE_WORKER), ours=True)))


@lru_cache(maxsize=1)
def own_names() -> frozenset[str]:
    """Names in the schema `worker` that workers and commands use from Python, functions among them."""
    return frozenset(
        name
        for text in _texts_of(_NEVER_AS_THE_WORKER)
        for found in _WORKER_FUNCTION.findall(text)
        for name in found
        if name
    )


@lru_cache(maxsize=1)
def issued_statements() -> tuple[IssuedStatement, ...]:
    """Statements that Python itself sends in production, but for those that it puts together."""
    return tuple(
        IssuedStatement(module.path, line, text)
        for module in _modules(_ASIDE)
        for line, text in module.whole
        if _WHOLE.match(text)
    )


def _touches(texts: Sequence[str], *, ours: bool) -> set[tuple[str, str]]:
    return {
        (table, privilege)
        for text in texts
        for privilege, pattern in _TOUCHES.items()
        for table in pattern.findall(text)
        if table.startswith(_OURS) is ours
    }


@lru_cache(maxsize=1)
def _statements() -> tuple[str, ...]:
    ours = [re.sub(r"--[^\n]*", "", step.sql) for step in read_steps(WORKER.folder)]
    return (*ours, *_texts_of(_ASIDE))


def _texts_of(aside: Set[str]) -> tuple[str, ...]:
    return tuple(text for module in _modules(aside) for text in module.texts)


@dataclass(frozen=True)
class _Module:
    """The texts of a module; `whole` are those that are no part of another one, each with its line."""

    path: str
    texts: tuple[str, ...]
    whole: tuple[tuple[int, str], ...]


def _modules(aside: Set[str]) -> Iterator[_Module]:
    for module in _all_modules():
        folders = [module.path[:place] for place, char in enumerate(module.path) if char == "/"]
        if aside.isdisjoint([*folders, module.path]):
            yield module


@lru_cache(maxsize=1)
def _all_modules() -> tuple[_Module, ...]:
    return tuple(module for room in _ROOMS for module in _modules_below(files(room), room))


def _modules_below(folder: Traversable, path: str) -> Iterator[_Module]:
    for item in folder.iterdir():
        inner = f"{path}/{item.name}"
        if item.is_dir():
            yield from _modules_below(item, inner)
        elif item.name.endswith(".py"):
            yield _read_module(inner, ast.parse(item.read_text(encoding="utf-8")))


def _read_module(path: str, tree: ast.Module) -> _Module:
    parts: set[int] = set()
    texts, whole = [], []
    for node in ast.walk(tree):
        if isinstance(node, (ast.JoinedStr, ast.BinOp, ast.Attribute)):
            parts.update(id(part) for part in ast.iter_child_nodes(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SQL":
            parts.update(id(part) for part in node.args)  # psycopg2's, with places for names
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
            if id(node) not in parts:
                whole.append((node.lineno, node.value))
    return _Module(path, tuple(texts), tuple(whole))


def _calls_in(text: str) -> Iterator[FunctionCall]:
    plain = _NO_CALL.sub(" ", text)
    for found in _CALL.finditer(plain):
        arguments = list(_arguments(plain[found.end() :]))
        named = tuple(sorted(match[1] for argument in arguments if (match := _NAMED.match(argument))))
        yield FunctionCall(found[1], len(arguments) - len(named), named)


def _arguments(rest: str) -> Iterator[str]:
    """What stands between the commas up to the parenthesis that closes the call."""
    depth, begin, is_quoted = 0, 0, False
    for place, char in enumerate(rest):
        if char == "'":
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif char in "([":
            depth += 1
        elif char == "," and depth == 0:
            yield rest[begin:place]
            begin = place + 1
        elif char in ")]":
            depth -= 1
            if depth < 0:
                if rest[begin:place].strip():
                    yield rest[begin:place]
                return
