"""Runs of other workflows as part of this one: started once, waited for without a thread, and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, JsonValue

from app.nodes.data.items import structured
from app.nodes.data.references import resolve
from app.nodes.task import Task
from app.platform.child_runs import Batch, ChildOutput, ChildRun, Started, fetch_children, start_children
from app.workflow import NodeFailure, Output, Park, WaitingReason, data_of
from app.workflow.inputs import RESERVED_PREFIX
from app.workflow.paths import Missing
from app.workflow.values import JsonObject, compact_json

#: Most workflows within each other.
DEEPEST = 3

_MAPPINGS = ("inputMapping", "input_mapping", "inputs")
_REFUSALS = {
    Started.UNKNOWN_WORKFLOW: "unknown_workflow: there is no such workflow",
    Started.NOT_YOURS: "forbidden: the workflow belongs to somebody else, who would pay for it",
    Started.TOO_DEEP: "too_deep: too many workflows run within each other",
    Started.RUN_ENDED: "run_ended",
}


def _uuid(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise ValueError("is not the id of a workflow") from None


WorkflowId = Annotated[str, AfterValidator(_uuid)]


def run_children(task: Task[Any], batch: Batch) -> list[ChildRun]:
    """How the runs of a batch ended; parks the node until all have.

    Raises `NodeFailure` where none may be started. Called again, it starts nothing twice.
    """
    run_id, node_id = task.run.run_id, task.node_id
    started = start_children(task.database, run_id, node_id, batch)
    if started is not Started.STARTED:
        raise NodeFailure(_REFUSALS[started])
    children = fetch_children(task.database, run_id, node_id)
    if any(child.status == "open" for child in children):
        raise Park(WaitingReason.EXTERNAL_CALLBACK)
    if any(child.status == "too_large" for child in children):
        raise NodeFailure("output_too_large")
    return children


def inputs_of(task: Task[Any], mapping: Mapping[str, JsonValue]) -> JsonObject:
    """What a child gets: the mapped names with what their paths lead to, or without a mapping all labels.

    Raises `NodeFailure` `not_found`.
    """
    if not mapping:
        return {
            name: value for name, value in task.work.labels.items() if not name.startswith(RESERVED_PREFIX)
        }
    return {name: _mapped(task, name, value) for name, value in mapping.items()}


def _mapped(task: Task[Any], name: str, value: JsonValue) -> JsonValue:
    stored = task.node.config.settings
    written = next((stored[key] for key in _MAPPINGS if key in stored), None)
    # What another node gave, put in for `[[…]]`, is never read as a path itself.
    is_filled = isinstance(written, dict) and written.get(name) != value
    if is_filled or not isinstance(value, str):
        return value
    path = value.strip().removeprefix("{{").removesuffix("}}").strip()
    found = resolve(task, path)
    if isinstance(found, Missing):
        raise NodeFailure(f"not_found: inputMapping.{name} names '{path}', which is not there")
    return found


def failure_of(child: ChildRun) -> str:
    """Why a child isn't completed, in words."""
    reason = f": {child.reason}" if child.reason else ""
    return f"child_{child.status}: run {child.child_run_id} ended as {child.status}{reason}"


def result_of(child: ChildRun) -> JsonValue:
    """What a completed child gave: the value of its last node, or those of several by their names."""
    if len(child.outputs) == 1:
        return _value(child.outputs[0])
    return {output.label or str(output.node_id): _value(output) for output in child.outputs}


def output_of(child: ChildRun) -> Output:
    """A completed child's result as the output of the node that started it."""
    result = result_of(child)
    only = child.outputs[0].output if len(child.outputs) == 1 else {}
    text = only.get("output") or (result if isinstance(result, str) else compact_json(result))
    return structured({"result": result, "workflowRunId": str(child.child_run_id)}, text=text)


def _value(output: ChildOutput) -> JsonValue:
    if "returnValue" in output.output:
        return output.output["returnValue"]
    data = data_of(output.output)
    return output.output.get("output") if data is None else data
