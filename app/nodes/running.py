"""Run one node by its type."""

from __future__ import annotations

from pydantic import ValidationError

from app.database import Database
from app.nodes.checking import complaints_about
from app.nodes.models import Models
from app.nodes.registry import node_types
from app.nodes.task import Task
from app.platform.workflows import WorkflowRun
from app.workflow import NodeFailure, Output, Work
from app.workflow.values import JsonObject


def run_node(
    work: Work,
    run: WorkflowRun,
    database: Database,
    models: Models,
    *,
    memo: JsonObject | None = None,
    answer: JsonObject | None = None,
) -> Output:
    """What the node gives; raises `NodeFailure` `invalid_config` for settings that are known only now.

    Raises `Park` for a node that waits; `memo` and `answer` are what such a node has at its next turn.
    """
    kind = node_types()[work.node.type]
    try:
        config = kind.config.model_validate(work.settings)
    except ValidationError as error:
        raise NodeFailure(f"invalid_config: {'; '.join(complaints_about(error))}") from None
    found = kind.check(config) if kind.check else None
    if found:
        raise NodeFailure(f"invalid_config: {found}")
    return kind.run(Task(config, work, run, database, models, memo, answer))
