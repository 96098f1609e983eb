"""Series of battles: on to the next round, as soon as the current one has a winner."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, ValidationError

from app.nodes.battles.naming import OptionalId, id_among
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.platform import node_effects, own_battles
from app.workflow import NodeFailure, Output, Park, WaitingReason
from app.workflow.values import JsonObject, compact_json

#: The first wait for a winner; each one is twice as long as the one before, up to the longest.
FIRST_WAIT_SECONDS = 60
LONGEST_WAIT_SECONDS = 900

DAY_MS = 86_400_000


class Series(NodeSettings):
    """The settings of `series_advance`."""

    series_id: OptionalId = None
    max_wait_ms: int = Field(default=7 * DAY_MS, ge=0, le=90 * DAY_MS, validation_alias=spelled("maxWaitMs"))


class _Waited(NodeSettings):
    """What a waiting node leaves behind."""

    seconds: int = 0
    next_seconds: int = FIRST_WAIT_SECONDS


@node_type(
    "series_advance",
    config=Series,
    gives=("seriesId", "seriesComplete", "currentRound", "roundCount"),
    effect=Effect.WAITS,
)
def advance(task: Task[Series]) -> Output:
    """Go on to the next round of a series; without a winner yet, wait for one."""
    series_id = task.config.series_id or id_among(task, "seriesId", "series_id")
    effect = node_effects.Effect(task.run.run_id, task.node_id, "series_advance")
    try:
        series = own_battles.advance_series(task.database, effect, series_id)
    except own_battles.NoWinnerYet as error:
        raise _wait(task, str(error)) from None
    data: JsonObject = {
        "seriesId": str(series_id),
        "seriesComplete": series.get("status") == "complete",
        "currentRound": series.get("current_round"),
        "roundCount": series.get("round_count"),
    }
    return Output(text=compact_json(data), artifact_kind="json", data=data)


def _wait(task: Task[Series], reason: str) -> Park | NodeFailure:
    try:
        waited = _Waited.model_validate(task.memo or {})
    except ValidationError:
        waited = _Waited()
    if (waited.seconds + waited.next_seconds) * 1000 > task.config.max_wait_ms:
        return NodeFailure(f"{reason}, after {waited.seconds} s")
    memo = _Waited(
        seconds=waited.seconds + waited.next_seconds,
        next_seconds=min(waited.next_seconds * 2, LONGEST_WAIT_SECONDS),
    )
    return Park(WaitingReason.TIMER, timedelta(seconds=waited.next_seconds), memo.model_dump(mode="json"))
