"""Which stored node results stand when a run goes on, and which nodes are done again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, JsonValue, ValidationError

from app.errors import GiveUp
from app.workflow.graph import NodeId
from app.workflow.results import NodeResult
from app.workflow.rows import Id
from app.workflow.statuses import NodeStatus


class Resumption(Enum):
    """Why a run goes on."""

    #: Its worker died or its message came again: whatever had ended has ended.
    RECOVERY = "recovery"
    #: A person wants another try: only what is completed stays.
    RETRY = "retry"


class StoredResult(BaseModel):
    """One row of `lenses.workflow_node_results`."""

    node_id: Id
    status: NodeStatus
    output_data: Annotated[
        dict[str, JsonValue] | None, BeforeValidator(lambda value: value if isinstance(value, dict) else None)
    ] = None
    error_message: str | None = None


def results_that_stand(rows: Iterable[Mapping[str, Any]], resumption: Resumption) -> dict[NodeId, NodeResult]:
    """What `Progress` shall take over; every other node is done, or decided, again.

    Completed nodes always stand: they are paid for and their effects have happened. Skipped nodes and those
    that failed for their parents' sake are decided again, which gives the same if the parents end the same.
    Raises `GiveUp` `workflow.results` for a row that can't be read.
    """
    standing: dict[NodeId, NodeResult] = {}
    for row in rows:
        stored = _read(row)
        if _stands(stored, resumption):
            error = None if stored.status is NodeStatus.COMPLETED else stored.error_message
            standing[stored.node_id] = NodeResult(stored.status, stored.output_data, error)
    return standing


def _stands(stored: StoredResult, resumption: Resumption) -> bool:
    if stored.status is NodeStatus.COMPLETED:
        return True
    decided_by_parents = stored.status is NodeStatus.SKIPPED or stored.error_message == "upstream_failure"
    return resumption is Resumption.RECOVERY and stored.status.is_terminal and not decided_by_parents


def _read(row: Mapping[str, Any]) -> StoredResult:
    try:
        return StoredResult.model_validate(row)
    except ValidationError as error:
        keys = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        raise GiveUp("workflow.results", f"a stored node result can't be read: {', '.join(keys)}") from None
