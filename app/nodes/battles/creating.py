"""Writing a battle: a draft of the workflow's owner, which nobody else sees yet."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from app.nodes.battles.naming import OptionalId
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.platform import node_effects, own_battles
from app.workflow import NodeFailure, Output
from app.workflow.values import stringify

_NOT_IN_SLUGS = re.compile(r"[^a-z0-9]+")


class NewBattle(NodeSettings):
    """The settings of `battle_create`; without a `taskPrompt` the task is the upstream's text."""

    title: str = Field(min_length=1, max_length=200)
    task_prompt: str = Field(default="", max_length=20_000)
    battle_type: Literal[
        "ai_vs_ai",
        "human_vs_human_ai_votes",
        "human_vs_human_open_votes",
        "human_vs_ai",
        "workflow_battle",
        "lenser_battle",
    ]
    voter_eligibility: Literal["open", "human_only", "ai_only", "verified_lenser", "lenser_only"] = "open"
    rubric_id: OptionalId = None
    workflow_id: OptionalId = None
    lens_id: OptionalId = None
    handicap_config: dict[str, JsonValue] = Field(default_factory=dict)
    automation_config: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("title")
    @classmethod
    def _says_something(cls, title: str) -> str:
        if not title.strip():
            raise ValueError("a battle needs a title")
        return title.strip()


@node_type(
    "battle_create",
    config=NewBattle,
    gives=("battleId", "slug", "status", "title"),
    effect=Effect.WRITES,
)
def create(task: Task[NewBattle]) -> Output:
    """Write a battle, as a draft of the workflow's owner."""
    config = task.config
    prompt = config.task_prompt.strip() or task.text or stringify(task.work.labels.get("taskPrompt"))
    if not prompt.strip():
        raise NodeFailure("missing_required: taskPrompt")
    effect = node_effects.Effect(task.run.run_id, task.node_id, "battle_create")
    battle = config.model_dump(mode="json", by_alias=False, exclude_none=True)
    created = own_battles.create(
        task.database, effect, {**battle, "task_prompt": prompt, "slug": _slug(task, config.title)}
    )
    return Output(text=config.title, artifact_kind="json", data=dict(created))


def _slug(task: Task[Any], title: str) -> str:
    """A slug that is this node's alone, whenever it is asked for."""
    words = _NOT_IN_SLUGS.sub("-", title.lower()).strip("-")[:60].strip("-") or "battle"
    return f"{words}-{hashlib.sha256(task.idempotency_key.encode()).hexdigest()[:10]}"
