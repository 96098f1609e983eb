"""What to do when nodes before this one failed: `error_catch` and `try_catch`.

Both run whether or not something failed. A failure that they deal with doesn't fail the run.
"""

from __future__ import annotations

import re

from pydantic import Field, JsonValue

from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, NodeId, NodeResult, Output, data_of
from app.workflow.values import JsonObject, stringify

_CODE = re.compile(r"[a-z][a-z0-9_.]*(?=:|$)")
#: The error of a node that failed only because one before it did.
_FOLLOWING = "upstream_failure"


class Catch(NodeSettings):
    """What to go on with instead of what the failed node would have given, or whether to fail after all."""

    fallback_value: JsonValue = None
    continue_on_error: bool = True


@node_type(
    "error_catch",
    config=Catch,
    gives=("sourceNodeId", "error", "errorCode", "recovered", "fallbackValue"),
    catches=True,
)
def catch(task: Task[Catch]) -> Output:
    """Go on with a fallback when a node before this one failed, else with what it gave."""
    failed = _first_failure(task)
    if failed is None:
        return _unharmed(task, {"error": None, "errorCode": None, "recovered": False})
    node_id, error = failed[0], failed[1].error or failed[1].status.value
    if not task.config.continue_on_error:
        raise NodeFailure(error)
    fallback = task.config.fallback_value
    told: JsonObject = {"sourceNodeId": node_id, "error": error, "errorCode": _code_of(error)}
    return Output(
        text=stringify(fallback),
        artifact_kind="json",
        data={**told, "recovered": True, "fallbackValue": fallback},
        caught=tuple(task.work.failures),
    )


class TryCatch(NodeSettings):
    """Under which key the error is given, and what `branch` is then called; without an error it is `success`.

    How often a failing node is tried again is a setting of that node.
    """

    error_output_key: str = Field(default="error", min_length=1)
    catch_branch: str = Field(default="error", validation_alias=spelled("catchBranch"))


@node_type("try_catch", config=TryCatch, gives=("caught", "branch", "error"), catches=True)
def try_catch(task: Task[TryCatch]) -> Output:
    """Tell whether a node before this one failed, for edges that part by `branch` or `caught`."""
    failed = _first_failure(task)
    if failed is None:
        return _unharmed(task, {"caught": False, "branch": "success"})
    node_id, error = failed[0], failed[1].error or failed[1].status.value
    told: JsonObject = {"message": error, "code": _code_of(error), "nodeId": node_id}
    key, branch = task.config.error_output_key, task.config.catch_branch
    return Output(
        text=error,
        artifact_kind="json",
        data={key: told, "caught": True, "branch": branch or "error"},
        caught=tuple(task.work.failures),
    )


def _first_failure(task: Task[Catch] | Task[TryCatch]) -> tuple[NodeId, NodeResult] | None:
    """The failure that began it: others may only have followed."""
    failures = task.work.failures
    own = [(node_id, end) for node_id, end in failures.items() if end.error != _FOLLOWING]
    return next(iter(own or failures.items()), None)


def _unharmed(task: Task[Catch] | Task[TryCatch], verdict: JsonObject) -> Output:
    data = data_of(task.given)
    passed: JsonObject = data if isinstance(data, dict) else {} if data is None else {"value": data}
    return Output(text=task.text, artifact_kind="json", data={**passed, **verdict})


def _code_of(error: str) -> str:
    code = _CODE.match(error)
    return code[0] if code else "node_failed"
