"""Jobs of every kind that buys something, and a platform on which their endings break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import enqueue_lens_run
from app.local.provider_server import ProviderServer
from app.local.receiver import Receiver
from app.local.teams import TEAM_OF_THREE, enqueue_team_run, make_team
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from tests.integration.battle_rows import queue_battle
from tests.integration.webhooks.rows import add_row
from tests.sql import call


@dataclass(frozen=True)
class World:
    """What jobs turn to; `asked` counts what they have bought or sent."""

    connection: Connection
    provider: ProviderServer
    receiver: Receiver

    @property
    def asked(self) -> int:
        return len(self.provider.calls) + len(self.receiver.requests)


@dataclass(frozen=True)
class Work:
    """Jobs of a kind: what is asked for them, and where their answers end.

    `ends` and `fails` are conditions of a trigger on `table`, the row's end and its failing. `answers` is a
    query that gives the answers in the platform's rows, `expected` what they are.
    """

    kind: str
    actors: Sequence[str]
    queue: Callable[[World], UUID]
    table: str
    ends: str
    fails: str
    questions: int
    answers: str
    expected: str


def _media(model: str) -> Callable[[World], UUID]:
    return lambda world: enqueue_lens_run(world.connection, model=model, inputs={"prompt": "a red kite"})


def _workflow(world: World) -> UUID:
    nodes = {
        "start": NodeSeed({"nodeType": "manual_trigger"}),
        "greet": NodeSeed({"modelId": "gpt-4o"}, lens="greeting"),
    }
    workflow = make_workflow(world.connection, nodes, [EdgeSeed("start", "greet")])
    inputs = {"name": "Ada", "language": "English"}
    return enqueue_workflow_run(world.connection, workflow.workflow_id, inputs=inputs)


def _two_nodes(world: World) -> UUID:
    lens = NodeSeed({"modelId": "gpt-4o"}, lens="greeting")
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), "one": lens, "two": lens}
    edges = [EdgeSeed("start", "one"), EdgeSeed("start", "two")]
    workflow = make_workflow(world.connection, nodes, edges)
    inputs = {"name": "Ada", "language": "English"}
    return enqueue_workflow_run(world.connection, workflow.workflow_id, inputs=inputs)


def _team(world: World) -> UUID:
    world.provider.say("claude-sonnet-4-6", "Emil shall do it.", "The sea is wide.", "VERDICT: ACCEPT")
    team = make_team(world.connection, TEAM_OF_THREE)
    task = {"task": "Praise the sea."}
    return enqueue_team_run(world.connection, team.lead_id, team_id=team.team_id, inputs=task)


LENS = Work(
    "lens_run",
    ["actors.lens_runs"],
    lambda world: enqueue_lens_run(world.connection, model="gpt-4o", inputs={"prompt": "the sea"}),
    "execution.runs",
    "NEW.status = 'succeeded'",
    "NEW.status = 'failed'",
    1,
    "SELECT response_text FROM execution.runs",
    "gpt-4o says: the sea",
)
BATTLE = Work(
    "battle_job",
    ["actors.battles"],
    lambda world: queue_battle(world.connection),
    "battles.battle_execution_jobs",
    "NEW.status = 'completed'",
    "NEW.status = 'failed'",
    2,
    "SELECT string_agg(content_text, '; ' ORDER BY content_text) FROM battles.submissions",
    "gpt-4o says: Praise the sea; gpt-5.4-mini says: Praise the sea",
)
MEDIUM = Work(
    "lens_run",
    ["actors.lens_runs", "actors.media"],
    _media("gpt-image-1"),
    "execution.runs",
    "NEW.status = 'succeeded'",
    "NEW.status = 'failed'",
    1,
    "SELECT left(response_text, 22) FROM execution.runs WHERE status = 'succeeded'",
    "data:image/png;base64,",
)
ORDER = Work(
    "lens_run",
    ["actors.lens_runs", "actors.media"],
    _media("kling-2.0"),
    "worker.media_tasks",
    "NEW.state = 'started'",
    "false",
    1,
    "SELECT status FROM execution.runs WHERE status = 'succeeded'",
    "succeeded",
)
#: The run that an order ends, once its medium is there.
COLLECTED = replace(ORDER, kind="media_poll", table="execution.runs", ends=LENS.ends, fails=LENS.fails)
NODE = Work(
    "workflow_run",
    ["actors.workflow_runs"],
    _workflow,
    "lenses.workflow_node_results",
    "NEW.status = 'completed' AND starts_with(NEW.output_data ->> 'output', 'gpt-4o says')",
    "NEW.status = 'failed'",
    1,
    "SELECT n.output_data ->> 'output' FROM lenses.workflow_node_results n"
    " JOIN lenses.workflow_runs r ON r.id = n.run_id AND r.status = 'completed'"
    " WHERE starts_with(n.output_data ->> 'output', 'gpt-4o says')",
    "gpt-4o says: Greet Ada in English. Tone: .",
)
#: Two nodes at once: what one has bought is kept although the other's result was refused before.
NODES = replace(
    NODE,
    queue=_two_nodes,
    questions=2,
    answers="SELECT count(*)::text FROM lenses.workflow_node_results n"
    " JOIN lenses.workflow_runs r ON r.id = n.run_id AND r.status = 'completed'"
    " WHERE starts_with(n.output_data ->> 'output', 'gpt-4o says')",
    expected="2",
)
TURN = Work(
    "team_run",
    ["actors.team_runs"],
    _team,
    "agents.agent_run_steps",
    "NEW.status = 'completed'",
    "false",
    3,
    "SELECT metadata #>> '{result,text}' FROM agents.team_runs WHERE status = 'completed'",
    "The sea is wide.",
)
WEBHOOK = Work(
    "webhook_delivery",
    ["actors.webhooks"],
    lambda world: add_row(world.connection, world.receiver.url("/hook")),
    "audit.webhook_outbox",
    "NEW.delivered_at IS NOT NULL",
    "NEW.dead_lettered_at IS NOT NULL",
    1,
    "SELECT 'delivered' FROM audit.webhook_outbox WHERE delivered_at IS NOT NULL",
    "delivered",
)

#: What happens to a session in a trigger.
KILL = "PERFORM pg_terminate_backend(pg_backend_pid())"


def raises(sqlstate: str) -> str:
    return f"RAISE EXCEPTION 'no ending of %', TG_TABLE_NAME USING ERRCODE = '{sqlstate}'"


#: As a trigger does that was written for another version of the table.
REFUSE = "PERFORM NEW.is_archived"


def break_endings(
    connection: Connection,
    work: Work,
    action: str,
    *,
    times: int,
    at_commit: bool = False,
    also: str = "false",
) -> None:
    """Have the next so many endings of a kind of work meet this, or what `also` describes too."""
    wanted = "AFTER" if at_commit else "BEFORE"
    constraint, deferred = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("", "")
    connection.cursor().execute(
        f"""
        CREATE SEQUENCE public.endings;
        CREATE FUNCTION public.break_ending() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            IF nextval('public.endings') <= {times} THEN {action}; END IF;
            RETURN NEW;
        END $$;
        CREATE {constraint} TRIGGER break_ending {wanted} INSERT OR UPDATE ON {work.table} {deferred}
            FOR EACH ROW WHEN ({work.ends} OR {also}) EXECUTE FUNCTION public.break_ending()
        """
    )


def mend(connection: Connection, work: Work) -> None:
    """Drop the trigger, as the platform's people do once they know of it."""
    connection.cursor().execute(f"DROP TRIGGER break_ending ON {work.table}")


def answers_of(world: World, work: Work) -> Any:
    return call(world.connection, work.answers)
