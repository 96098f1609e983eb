"""Workflows on a reference platform: graphs, schedules, teams, and runs that wait for a worker.

For the demo, the dev command, the benchmarks and the tests; never for a real platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg2.extensions import connection, cursor
from psycopg2.extras import Json, register_uuid
from psycopg2.sql import SQL, Identifier, Placeholder

from app.local.seeds import seeded_id

register_uuid()


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
        workflow_id = _insert(
            tx,
            "lenses.workflows",
            lenser_id=seeded_id("person", owner),
            title="A workflow",
            visibility=visibility,
            slug=f"workflow-{uuid4()}",
        )
        for ordinal, (name, node) in enumerate(nodes.items()):
            _insert(
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
            _insert(
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
    """A schedule that is due each minute, unless `columns` say otherwise."""
    columns = {"cron_expr": "* * * * *", "approval_policy": {"requiresApproval": approval}, **columns}
    with session.cursor() as tx:
        return _insert(tx, "lenses.workflow_schedules", workflow_id=workflow_id, **_as_json(columns))


def run_by_schedule(session: connection, workflow_id: UUID, *, inputs: Mapping[str, Any]) -> UUID:
    """Make a schedule that is due in this minute, and next in a year, and dispatch it; returns its id.

    In one transaction, since its minute may be over in the next one.
    """
    with session, session.cursor() as tx:
        tx.execute("SELECT to_char(now(), 'FMMI FMHH24 FMDD FMMM *')")
        (this_minute,) = tx.fetchone() or ("",)
        schedule = make_schedule(session, workflow_id, cron_expr=this_minute, inputs_template=dict(inputs))
        # Not under the lock of the sweep, which would do nothing while another one is at it.
        tx.execute("SELECT worker.fn_dispatch_scheduled_workflows()")
    return schedule


def make_agent(
    session: connection,
    name: str,
    *,
    persona: str | None = None,
    model: str | None = None,
    owner: str = "ada",
) -> UUID:
    """An agent of a seeded person, with a profile of its own; `model` is the key of a model that is there."""
    with session.cursor() as tx:
        tx.execute("SELECT id FROM ai.models WHERE key = %s", (model,))
        found: tuple[UUID] | None = tx.fetchone()
        profile = _insert(
            tx,
            "lensers.profiles",
            user_id=None,
            handle=f"{name.lower()}-{uuid4()}",
            display_name=name,
            type="ai",
            ai_model_id=found[0] if found else None,
        )
        agent = _insert(
            tx, "agents.ai_lensers", profile_id=profile, display_name=name, personality_note=persona
        )
        _insert(tx, "agents.ownerships", ai_lenser_id=agent, owner_lenser_id=seeded_id("person", owner))
    return agent


@dataclass(frozen=True)
class MemberSeed:
    """A member to be: its agent's name and persona, and its place in the team."""

    name: str
    role: str = "executor"
    lane: int = 0
    persona: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class SeededTeam:
    """A team's id, and its agents by name; the first is the one it belongs to."""

    team_id: UUID
    agents: Mapping[str, UUID]

    @property
    def lead_id(self) -> UUID:
        """The agent that the team belongs to."""
        return next(iter(self.agents.values()))


TEAM_OF_THREE = (
    MemberSeed("Lena", "leader", persona="You lead: say what is to be done, in one sentence."),
    MemberSeed("Emil", "executor", persona="You do the work."),
    MemberSeed("Rosa", "reviewer", persona="You review the work, and say what is wrong with it."),
)


def make_team(session: connection, members: Sequence[MemberSeed] = TEAM_OF_THREE) -> SeededTeam:
    """A team of new agents, in that order; the leader's, an executor's and a reviewer's unless given."""
    agents = {
        member.name: make_agent(session, member.name, persona=member.persona, model=member.model)
        for member in members
    }
    with session.cursor() as tx:
        team = _insert(
            tx, "agents.teams", ai_lenser_id=next(iter(agents.values())), name=f"Team {members[0].name}"
        )
        for order, member in enumerate(members):
            _insert(
                tx,
                "agents.team_members",
                team_id=team,
                agent_id=agents[member.name],
                role=member.role,
                lane=member.lane,
                sort_order=order,
            )
    return SeededTeam(team, agents)


def enqueue_workflow_run(
    session: connection, workflow_id: UUID, *, inputs: Mapping[str, Any] | None = None, **columns: Any
) -> UUID:
    """A run of the API that waits for a worker, with a row for each node; `columns` are the run's own."""
    columns = {"status": "pending", "trigger_mode": "api", "context_inputs": dict(inputs or {}), **columns}
    with session.cursor() as tx:
        run = _insert(
            tx,
            "lenses.workflow_runs",
            workflow_id=workflow_id,
            triggered_by=columns.pop("triggered_by", seeded_id("person", "ada")),
            **_as_json(columns),
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


def enqueue_team_run(
    session: connection,
    ai_lenser_id: UUID,
    *,
    workflow_id: UUID | None = None,
    team_id: UUID | None = None,
    inputs: Mapping[str, Any] | None = None,
    **columns: Any,
) -> UUID:
    """A team run that waits for a worker and needs no approval, unless `columns` say otherwise."""
    columns = {
        "status": "queued",
        "approval_status": "not_required",
        "metadata": {"inputs": dict(inputs or {})},
        **columns,
    }
    with session.cursor() as tx:
        return _insert(
            tx,
            "agents.team_runs",
            ai_lenser_id=ai_lenser_id,
            workflow_id=workflow_id,
            team_id=team_id,
            **_as_json(columns),
        )


def _as_json(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Json(value) if isinstance(value, dict | list) else value for name, value in columns.items()}


def _insert(tx: cursor, table: str, **columns: Any) -> UUID:
    statement = SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        Identifier(*table.split(".")),
        SQL(", ").join(map(Identifier, columns)),
        SQL(", ").join(map(Placeholder, columns)),
    )
    tx.execute(statement, columns)
    row: tuple[UUID] | None = tx.fetchone()
    assert row is not None, "an insert returns its row"
    return row[0]
