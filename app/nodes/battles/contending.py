"""Contending inside a workflow: models answer a task in their slots, and their answers are gathered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app import providers
from app.nodes.battles.naming import OfBattle, OptionalId
from app.nodes.registry import Effect, node_type
from app.nodes.task import Task
from app.platform.battles import PERSONA_MAX_CHARS
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject, compact_json, stringify

Slot = Annotated[str, Field(pattern=r"^[A-Za-z]$")]


class Contending(OfBattle):
    """The settings of `contender_run`; its task is its lens, else `taskPrompt`, else the upstream's text."""

    slot: Slot = "A"
    contender_id: OptionalId = None
    task_prompt: str = ""
    personality_note: str = ""


@node_type(
    "contender_run", config=Contending, gives=("slot", "contenderId", "battleId"), effect=Effect.SPENDS
)
def contend(task: Task[Contending]) -> Output:
    """Answer a task as a contender, in the voice of its persona."""
    config = task.config
    prompt = _task_prompt(task)
    if not prompt.strip():
        raise NodeFailure("missing_required: taskPrompt")
    note = config.personality_note.strip()[:PERSONA_MAX_CHARS] or None
    answer = task.models.ask(task.node, providers.Prompt(prompt, system=note))
    usage = task.models.usage_of(task.node)
    data: JsonObject = {
        "battleId": str(config.battle_id) if config.battle_id else None,
        "contenderId": str(config.contender_id) if config.contender_id else None,
        "slot": config.slot.upper(),
    }
    return Output(text=answer.text, metadata=usage.metadata if usage else {}, data=data)


def _task_prompt(task: Task[Contending]) -> str:
    if task.node.lens_id:
        return task.models.lenses.prompt_of(task.work)
    labels = task.work.labels
    return task.config.task_prompt or stringify(labels.get("taskPrompt")) or task.text


class Gathering(OfBattle):
    """The settings of `battle_execute`."""

    task_prompt: str = ""


@node_type("battle_execute", config=Gathering, gives=("battleId", "taskPrompt", "contenders", "outputs"))
def gather(task: Task[Gathering]) -> Output:
    """Gather what the contenders before this node answered, by their slots."""
    contenders = {str(entry["slot"]): entry for entry in _entries(task)}
    if not contenders:
        raise NodeFailure("missing_required: no contender_run before this node has an answer")
    ordered = [contenders[slot] for slot in sorted(contenders)]
    data: JsonObject = {
        "battleId": str(task.config.battle_id) if task.config.battle_id else None,
        "taskPrompt": task.config.task_prompt,
        "contenders": list(ordered),
        "outputs": {str(entry["slot"]): entry["output"] for entry in ordered},
    }
    return Output(text=compact_json(data["outputs"]), artifact_kind="json", data=data)


def _entries(task: Task[Gathering]) -> Iterator[JsonObject]:
    """What the parents gave in a slot; of one slot the last counts."""
    for node_id, given in task.work.parents:
        if isinstance(given.get("slot"), str):
            yield {
                "slot": given["slot"],
                "contenderId": given.get("contenderId"),
                "nodeId": node_id,
                "output": given.get("output"),
            }
