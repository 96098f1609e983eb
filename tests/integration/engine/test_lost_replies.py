"""A page whose commit worked although its reply was lost is written once."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import Database
from app.errors import DatabaseAway
from app.local.platform import Seeded
from app.local.workflows import EdgeSeed, NodeSeed
from app.platform.workflows import RunHold, Verdict
from tests.integration.engine.runs import START
from tests.integration.node_runs import execute_once, start
from tests.sql import Connection, call


def test_each_event_is_told_once(
    jobs_database: Database, connection: Connection, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, lost = RunHold.save, []

    def save_and_lose_the_reply(hold: RunHold, *page: Any, **terms: Any) -> Verdict:
        verdict = save(hold, *page, **terms)
        if not terms["again"]:
            lost.append(verdict)
            raise DatabaseAway("the session was lost")
        return verdict

    monkeypatch.setattr(RunHold, "save", save_and_lose_the_reply)
    nodes = {"start": START, "next": NodeSeed({"nodeType": "noop"})}
    ran = execute_once(jobs_database, start(connection, nodes, [EdgeSeed("start", "next")]))
    told = call(
        connection,
        "SELECT array_agg(concat(type, ' ', payload ->> 'nodeId') ORDER BY event_id)"
        " FROM lenses.workflow_run_events WHERE run_id = %s",
        ran.run_id,
    )
    first, second = (str(ran.workflow.nodes[name]) for name in ("start", "next"))
    assert len(lost) > 1
    assert told == [
        "run.started ",
        f"node.started {first}",
        f"node.completed {first}",
        f"node.started {second}",
        f"node.completed {second}",
    ]
