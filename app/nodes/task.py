"""What a node's function is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, JsonValue

from app.database import Database
from app.nodes.models import Models
from app.platform.workflows import WorkflowRun
from app.workflow import Node, Work
from app.workflow.resolver import Source
from app.workflow.values import JsonObject

Config_co = TypeVar("Config_co", bound=BaseModel, covariant=True)


@dataclass(frozen=True)
class Task(Generic[Config_co]):
    """One node's work: its settings, what came in, and what it may use.

    `memo` is what the node left behind when it was parked, `answer` what came meanwhile: {data, by, at}, with
    the profile of who answered, or null, and the time. Both are None the first time, and a node that became
    due or was woken has no answer.

    A function may run again after a crash: `idempotency_key` is the same then.
    """

    config: Config_co
    work: Work
    run: WorkflowRun
    database: Database
    models: Models
    memo: JsonObject | None = None
    answer: JsonObject | None = None

    @property
    def node(self) -> Node:
        """The node itself."""
        return self.work.node

    @property
    def node_id(self) -> UUID:
        """The id of the node's row."""
        return UUID(self.work.node.id)

    @property
    def idempotency_key(self) -> str:
        """What stands for this node of this run, whoever executes it and how often."""
        return f"{self.run.run_id}:{self.work.node.id}"

    @property
    def timeout_seconds(self) -> float:
        """The node's own time limit, for one try."""
        return self.work.node.config.timeout_ms / 1000

    @property
    def subject(self) -> JsonValue:
        """The data of the first parent, else that one's text; without a parent, the labels."""
        return self.source.value

    @cached_property
    def source(self) -> Source:
        """What a path in the settings is read in: the first parent's output; without a parent, the labels."""
        if not self.work.parents:
            return Source(dict(self.work.labels), outputs=self.work.outputs)
        return Source.of_output(self.given, self.work.outputs)

    @property
    def text(self) -> str:
        """The text of the first parent, empty without one."""
        return str(self.given.get("output") or "")

    @property
    def given(self) -> JsonObject:
        """The stored output of the first parent, empty without one."""
        return self.work.parents[0][1] if self.work.parents else {}
