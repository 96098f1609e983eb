"""Workflows on a reference platform: graphs, schedules, and runs that wait for a worker.

For the demo, the dev command, the benchmarks and the tests; never for a real platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg2.extensions import connection
from psycopg2.extras import Json

from app.local.rows import as_json, insert
from app.local.seeds import seeded_id


@dataclass(frozen=True)
class NodeSeed:
    """A node: its config and, if it asks a model, the seeded lens."""

    config: Mapping[str, Any] = field(default_factory=dict)
    lens: str | None = None


@dataclass(frozen=True)
class EdgeSeed:
    """An edge between two nodes by name, into the parameter `label` of the second."""

    source: str
    target: str
    label: str = "input"
    output_key: str = "output"
    condition: Mapping[str, Any] | None = None
    merge_strategy: str | None = None


@dataclass(frozen=True)
class SeededWorkflow:
    """A workflow's id and those of its nodes, by name."""

    workflow_id: UUID
    nodes: Mapping[str, UUID]


#: A trigger, a decision, two ways of which one is taken, and an end that takes whichever came.
BRANCHING_NODES = {
    "start": NodeSeed({"nodeType": "manual_trigger"}),
    "decide": NodeSeed(
        {"nodeType": "if_condition", "inputPath": "name", "operator": "equals", "value": "Ada"}
    ),
    "greet": NodeSeed({"modelId": "gpt-4o"}, lens="greeting"),
    "summarise": NodeSeed({"modelId": "gpt-4o"}, lens="summary"),
    "join": NodeSeed({"nodeType": "merge", "onParentFailure": "substitute_default"}),
}
BRANCHING_EDGES = (
    EdgeSeed("start", "decide"),
    EdgeSeed("decide", "greet", "branch", "branch", {"type": "equals", "value": "true"}),
    EdgeSeed("decide", "summarise", "branch", "branch", {"type": "equals", "value": "false"}),
    EdgeSeed("greet", "join", "first"),
    EdgeSeed("summarise", "join", "second"),
)


def make_workflow(
    session: connection,
    nodes: Mapping[str, NodeSeed] | None = None,
    edges: Sequence[EdgeSeed] | None = None,
    *,
    owner: str = "ada",
    visibility: str = "public",
) -> SeededWorkflow:
    """A new workflow of a seeded person; the branching one unless `nodes` are given."""
    if nodes is None:
        nodes, edges = BRANCHING_NODES, BRANCHING_EDGES
    ids = {name: uuid4() for name in nodes}
    with session.cursor() as tx:
        workflow_id = insert(
            tx,
            "lenses.workflows",
            lenser_id=seeded_id("person", owner),
            title="A workflow",
            visibility=visibility,
            slug=f"workflow-{uuid4()}",
        )
        for ordinal, (name, node) in enumerate(nodes.items()):
            insert(
                tx,
                "lenses.workflow_nodes",
                id=ids[name],
                workflow_id=workflow_id,
                lens_id=seeded_id("lens", node.lens) if node.lens else None,
                label=name,
                ordinal=ordinal,
                config=Json(dict(node.config)),
            )
        for edge in edges or ():
            insert(
                tx,
                "lenses.workflow_edges",
                workflow_id=workflow_id,
                source_node_id=ids[edge.source],
                target_node_id=ids[edge.target],
                source_output_key=edge.output_key,
                target_param_label=edge.label,
                merge_strategy=edge.merge_strategy,
                condition=Json(dict(edge.condition)) if edge.condition else None,
            )
    return SeededWorkflow(workflow_id, ids)


def make_schedule(session: connection, workflow_id: UUID, *, approval: bool = False, **columns: Any) -> UUID:
    """A schedule of yesterday that is due each minute, unless `columns` say otherwise."""
    columns = {"cron_expr": "* * * * *", "approval_policy": {"requiresApproval": approval}, **columns}
    with session.cursor() as tx:
        tx.execute("SELECT now() - interval '1 day'")
        (yesterday,) = tx.fetchone() or (None,)
        columns.setdefault("created_at", yesterday)
        return insert(tx, "lenses.workflow_schedules", workflow_id=workflow_id, **as_json(columns))


def run_by_schedule(session: connection, workflow_id: UUID, *, inputs: Mapping[str, Any]) -> UUID:
    """Make a schedule that is due in this minute, and next in a year, and dispatch it; returns its id.

    In one transaction, since its minute may be over in the next one.
    """
    with session, session.cursor() as tx:
        tx.execute("SELECT to_char(now(), 'FMMI FMHH24 FMDD FMMM *'), date_trunc('minute', now())")
        expression, slot = tx.fetchone() or ("", None)
        schedule = make_schedule(session, workflow_id, cron_expr=expression, inputs_template=dict(inputs))
        tx.execute("SELECT worker.plan_schedule(%s, %s, 'UTC', %s, NULL)", (schedule, expression, slot))
        tx.execute(
            "SELECT worker.dispatch_slot("
            "%(id)s, %(slot)s, %(slot)s, %(slot)s + interval '1 year', p_runs => true, p_missed => NULL)",
            {"id": schedule, "slot": slot},
        )
    return schedule


def enqueue_workflow_run(
    session: connection, workflow_id: UUID, *, inputs: Mapping[str, Any] | None = None, **columns: Any
) -> UUID:
    """A run of the API that waits for a worker, with a row for each node; `columns` are the run's own."""
    columns = {"status": "pending", "trigger_mode": "api", "context_inputs": dict(inputs or {}), **columns}
    with session.cursor() as tx:
        run = insert(
            tx,
            "lenses.workflow_runs",
            workflow_id=workflow_id,
            triggered_by=columns.pop("triggered_by", seeded_id("person", "ada")),
            **as_json(columns),
        )
        tx.execute(
            """
            INSERT INTO lenses.workflow_node_results (run_id, node_id)
            SELECT %s, id FROM lenses.workflow_nodes WHERE workflow_id = %s
            -- A worker may have begun the run by now.
            ON CONFLICT DO NOTHING
            """,
            (run, workflow_id),
        )
    return run
