"""Workflows within workflows: `sub_workflow` and `loop_map`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.data.items import ListSettings, items_of, structured
from app.nodes.logic.children import (
    DEEPEST,
    WorkflowId,
    failure_of,
    inputs_of,
    output_of,
    result_of,
    run_children,
)
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, capped, spelled
from app.nodes.task import Task
from app.platform.child_runs import Batch, ChildRun
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject


class SubWorkflow(NodeSettings):
    """Which workflow runs, and what it is given: names and `node.path`, or all labels without a mapping."""

    workflow_id: WorkflowId
    input_mapping: dict[str, JsonValue] = Field(
        default_factory=dict, validation_alias=spelled("inputMapping", "inputs")
    )
    max_depth: Annotated[int, capped(1, DEEPEST)] = Field(default=DEEPEST, ge=1, le=DEEPEST)


@node_type("sub_workflow", config=SubWorkflow, gives=("result", "workflowRunId"), effect=Effect.WAITS)
def run_workflow(task: Task[SubWorkflow]) -> Output:
    """Run another workflow of the same owner, and give its result."""
    config = task.config
    inputs = inputs_of(task, config.input_mapping)
    batch = Batch(workflow_id=UUID(config.workflow_id), inputs=[inputs], max_depth=config.max_depth)
    (child,) = run_children(task, batch)
    if child.status != "completed":
        raise NodeFailure(failure_of(child))
    return output_of(child)


def _blank_to_none(raw: object) -> object:
    return None if isinstance(raw, str) and not raw.strip() else raw


class Loop(ListSettings):
    """The list, and the workflow that runs for each item; without one the list itself is given.

    The workflow is given all labels, and the item as `itemVariable`, its place as `index`.
    """

    item_variable: str = Field(default="item", pattern="^(_?[^_]|_$)")
    workflow_id: Annotated[WorkflowId | None, BeforeValidator(_blank_to_none)] = None
    input_mapping: dict[str, JsonValue] = Field(default_factory=dict)
    concurrency: int = Field(default=5, ge=1, le=50)
    on_item_error: Literal["fail", "skip"] = "fail"
    max_depth: Annotated[int, capped(1, DEEPEST)] = Field(default=DEEPEST, ge=1, le=DEEPEST)


@node_type(
    "loop_map",
    config=Loop,
    gives=("items", "totalCount", "processedCount", "failedCount", "failed", "truncated", "itemVariable"),
    effect=Effect.WAITS,
)
def loop(task: Task[Loop]) -> Output:
    """Run a workflow for each item of a list, several at once, and give the results in order."""
    config = task.config
    items = items_of(task, config)
    seen = items[: config.max_items]
    told: JsonObject = {
        "totalCount": len(items),
        "truncated": len(items) > len(seen),
        "itemVariable": config.item_variable,
    }
    if config.workflow_id is None or not seen:
        return structured(
            {"items": seen, "processedCount": len(seen), "failedCount": 0, "failed": [], **told}
        )
    common = inputs_of(task, config.input_mapping)
    batch = Batch(
        workflow_id=UUID(config.workflow_id),
        inputs=[{**common, config.item_variable: item, "index": index} for index, item in enumerate(seen)],
        concurrency=config.concurrency,
        stops_on_failure=config.on_item_error == "fail",
        max_depth=config.max_depth,
    )
    return structured({**_results(run_children(task, batch), config), **told})


def _results(children: list[ChildRun], config: Loop) -> JsonObject:
    failed = [child for child in children if child.status not in ("completed", "skipped")]
    if failed and config.on_item_error == "fail":
        raise NodeFailure(f"item {failed[0].item}: {failure_of(failed[0])}")
    results = [result_of(child) for child in children if child.status == "completed"]
    errors: list[JsonValue] = [{"index": child.item, "error": failure_of(child)} for child in failed]
    return {
        "items": results,
        "processedCount": len(results),
        "failedCount": len(failed),
        "failed": errors,
    }
