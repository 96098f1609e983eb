"""Nodes that have an agent do something, in a team run of its own that they wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.ai.asking import Asking, material_of
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.platform.delegation import Delegation, fetch_delegated_run, start_delegated_run
from app.workflow import NodeFailure, Output, Park, WaitingReason
from app.workflow.values import JsonObject, stringify

#: A team run that nobody speaks of any more is looked at this often.
LOOK = timedelta(days=1)

_MEMO_KEY = "teamRun"


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


class AgentTask(Asking):
    """The settings of a node that delegates to an agent: its task, and a workflow where it shall do one."""

    agent_id: UUID
    text: str = Field(default="", validation_alias=spelled("taskPrompt", "task", "prompt", "text"))
    workflow_id: Annotated[UUID | None, BeforeValidator(_blank_to_none)] = None


@node_type("agent_execute", config=AgentTask, gives=("teamRunId", "status", "result"), effect=Effect.WAITS)
def have_agent_do(task: Task[AgentTask]) -> Output:
    """Have an agent do a task, or a workflow, and give what came of it."""
    started = (task.memo or {}).get(_MEMO_KEY)
    if started:
        return _come_to(task, UUID(str(started)))
    policy = task.node.config.delegation_policy
    if policy == "forbidden":
        raise NodeFailure("delegation_forbidden")
    inputs: JsonObject = {"task": material_of(task).text}
    if task.config.text.strip() and task.text:
        inputs["context"] = task.text
    wanted = Delegation(task.config.agent_id, task.config.workflow_id, inputs, policy)
    owner = task.run.owner_lenser_id
    raise _waiting_for(start_delegated_run(task.database, task.run.run_id, task.node_id, owner, wanted))


def _waiting_for(team_run_id: UUID) -> Park:
    return Park(WaitingReason.EXTERNAL_CALLBACK, until=LOOK, memo={_MEMO_KEY: str(team_run_id)})


def _come_to(task: Task[AgentTask], team_run_id: UUID) -> Output:
    found = fetch_delegated_run(task.database, team_run_id)
    if found is None:
        raise NodeFailure("team_run_lost: the agent's run was deleted")
    if not found.has_ended:
        raise _waiting_for(team_run_id)
    if found.status != "completed":
        raise NodeFailure(f"team_run_{found.status}: {found.error or 'no reason is known'}")
    data: JsonObject = {"teamRunId": str(team_run_id), "status": found.status, "result": found.result}
    return Output(text=_words_of(found.result), data=data)


def _words_of(result: JsonValue) -> str:
    """What an agent said last, or the whole result where it isn't words."""
    for key in ("text", "output", "summary"):
        if isinstance(result, dict) and isinstance(result.get(key), str):
            return str(result[key])
    return stringify(result)
