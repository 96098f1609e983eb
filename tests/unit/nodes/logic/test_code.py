"""Strangers' JavaScript: what it computes, and what it can't do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from app import sandbox
from app.nodes import node_types
from app.settings import settings
from app.workflow import InvalidWorkflow, NodeFailure, NodeStatus
from tests.unit.nodes.trying import try_node

needs_a_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None or shutil.which("node") is None, reason="no bubblewrap, or no Node"
)


@pytest.fixture(autouse=True)
def runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/db")
    monkeypatch.setenv("WORKER_CODE_RUNNER", "bwrap")
    settings.cache_clear()


def test_code_is_refused_before_the_run_where_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CODE_RUNNER", "off")
    settings.cache_clear()
    with pytest.raises(InvalidWorkflow, match="WORKER_CODE_RUNNER is off"):
        try_node("code", code="1 + 1")


def test_code_is_refused_before_the_run_where_it_can_not_be_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_proven", type(sandbox._proven)())
    monkeypatch.setenv("WORKER_CODE_BWRAP_COMMAND", "/nowhere/bwrap")
    settings.cache_clear()
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
        ("undefined", {"value": None}),
    ],
)
def test_code_computes_with_what_it_is_given(code: str, data: dict[str, Any]) -> None:
    assert try_node("code", [1, 2, 3], inputs={"name": "Ada"}, code=code).data == data


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
