"""Which battle a node is about."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import NodeFailure


def blank_to_none(value: object) -> object:
    """Forms store what is not filled in as an empty text."""
    return None if isinstance(value, str) and not value.strip() else value


OptionalId = Annotated[UUID | None, BeforeValidator(blank_to_none)]


class OfBattle(NodeSettings):
    """The settings of nodes about one battle; an event of a battle names it too, among the run's inputs."""

    battle_id: OptionalId = None


def battle_of(task: Task[Any]) -> UUID:
    """The battle that the settings, the labels or the upstream name; raises `NodeFailure`."""
    config: OfBattle = task.config
    return config.battle_id or id_among(task, "battleId", "battle_id")


def id_among(task: Task[Any], *names: str) -> UUID:
    """An id that the labels or the upstream's data have under one of the names; raises `NodeFailure`."""
    subject = task.subject
    for given in (task.work.labels, subject if isinstance(subject, dict) else {}):
        for name in names:
            try:
                return UUID(str(given[name]))
            except (KeyError, ValueError):
                continue
    raise NodeFailure(f"missing_required: {names[0]}")
