"""End a workflow early: `stop_return`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import HALT_KEY, NodeFailure, Output
from app.workflow.paths import Missing
from app.workflow.values import stringify

_FAILED = frozenset({"failed", "failure", "error"})


def _status(raw: object) -> object:
    return "failed" if isinstance(raw, str) and raw.strip().lower() in _FAILED else "completed"


class Stop(NodeSettings):
    """What the workflow returns, at a path or as it is; with the status `failed` it ends in an error."""

    return_path: str = Field(default="", validation_alias=spelled("returnPath"))
    return_value: JsonValue = None
    status: Annotated[Literal["completed", "failed"], BeforeValidator(_status)] = "completed"
    message: str = ""


@node_type("stop_return", config=Stop, gives=("halted", "returnValue"))
def stop(task: Task[Stop]) -> Output:
    """End the workflow here: what hasn't started is skipped."""
    config = task.config
    if config.status == "failed":
        message = f"stopped: {config.message}" if config.message else "stopped"
        raise NodeFailure(message, output_data={"halted": True, HALT_KEY: True})
    returned = _returned(task)
    text = stringify(returned) or config.message
    data: dict[str, JsonValue] = {"halted": True, "returnValue": returned}
    return Output(text=text, artifact_kind="json", data=data, halt=True)


def _returned(task: Task[Stop]) -> JsonValue:
    path = task.config.return_path.strip()
    if path:
        found = task.source.find(path)
        if isinstance(found, Missing):
            raise NodeFailure(f"not_found: there is nothing at '{path}'")
        return found
    is_given = "return_value" in task.config.model_fields_set
    return task.config.return_value if is_given else task.subject
