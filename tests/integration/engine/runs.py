"""Workflows of a few nodes, their runs, and what the rows say of them."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812
from pydantic import JsonValue

from app.claims import Claim
from app.database import Database
from app.engine import Ending, execute
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.parked_nodes import Answered, answer_node
from app.platform.workflows import WorkflowRun
from tests.integration.workflow_rows import (
    hold_of,
    node_statuses,
    rows,
    run_row,
)
from tests.sql import call
from tests.waiting import eventually

GPT = {"modelId": "gpt-4o"}
ENDED = ("completed", "failed", "cancelled", "timed_out")
INPUTS = {"name": "Ada", "language": "English", "text": "all of it"}
START = NodeSeed({"nodeType": "manual_trigger"})


def lens(**config: Any) -> NodeSeed:
    return NodeSeed({**GPT, **config}, lens="greeting")


def chain(length: int) -> tuple[dict[str, NodeSeed], list[EdgeSeed]]:
    nodes = {f"n{number}": lens() for number in range(length)}
    return nodes, [EdgeSeed(f"n{number}", f"n{number + 1}", "name") for number in range(length - 1)]


def waiting(node_type: str, **config: Any) -> NodeSeed:
    return NodeSeed({"nodeType": node_type, **config})


def begin(connection: Connection, *nodes: NodeSeed, **columns: Any) -> tuple[SeededWorkflow, UUID]:
    """A run of a trigger and the nodes after it in a row, called n1, n2 and so on."""
    named = {"n0": START} | {f"n{place}": node for place, node in enumerate(nodes, 1)}
    edges = [EdgeSeed(f"n{place - 1}", f"n{place}") for place in range(1, len(named))]
    workflow = make_workflow(connection, named, edges)
    return workflow, enqueue_workflow_run(
        connection, workflow.workflow_id, inputs={"topic": "sea"}, **columns
    )


def do(database: Database, claimed: Claim[dict[str, Any]]) -> Ending | None:
    """Execute a claimed run by hand, until it ends or is put down."""
    return execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)


class Executing:
    """An execution on a thread of the test's own."""

    def __init__(self, database: Database, claimed: Claim[dict[str, Any]]) -> None:
        self.ending: Ending | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, args=(database, claimed), daemon=True)
        self._thread.start()

    def _do(self, database: Database, claimed: Claim[dict[str, Any]]) -> None:
        try:
            self.ending = do(database, claimed)
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 10.0) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the execution did not end"


def ended(connection: Connection, run_id: UUID) -> dict[str, Any]:
    row: dict[str, Any] = {}

    def look() -> bool:
        row.update(run_row(connection, run_id))
        return row["status"] in ENDED

    eventually(look, what="the run's end")
    return row


def await_end(connection: Connection, run_id: UUID, status: str = "completed") -> dict[str, Any]:
    row = ended(connection, run_id)
    assert row["status"] == status
    return row


def is_put_down(connection: Connection) -> bool:
    return bool(call(connection, "SELECT bool_and(state = 'handed_back') FROM worker.claims"))


def await_rest(connection: Connection) -> None:
    eventually(lambda: is_put_down(connection), what="the run being put down")


def by_name(connection: Connection, workflow: SeededWorkflow, run_id: UUID) -> dict[str, str]:
    statuses = node_statuses(connection, run_id)
    return {name: statuses[node_id] for name, node_id in workflow.nodes.items()}


def node(connection: Connection, node_id: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM lenses.workflow_node_results WHERE node_id = %s", node_id)[0]


def told(connection: Connection, run_id: UUID, workflow: SeededWorkflow | None = None) -> list[str]:
    """The run's log in order: each event's type, and the name of its node where the workflow is given."""
    names = {str(node_id): name for name, node_id in workflow.nodes.items()} if workflow else {}
    log = "SELECT type, payload FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id"
    return [
        f"{row['type']} {names.get(row['payload'].get('nodeId'), '')}".strip()
        for row in rows(connection, log, run_id)
    ]


def waiting_nodes(connection: Connection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * FROM worker.waiting_nodes")


def answered(
    database: Database, run_id: UUID, node_id: UUID, answer: JsonValue, by: UUID | None = None
) -> Answered:
    with database.transaction() as tx:
        return answer_node(tx, run_id, node_id, answer, by)
