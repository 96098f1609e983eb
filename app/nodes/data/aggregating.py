"""Count and add up the items of a list: `aggregate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, items_of, structured
from app.nodes.data.values import find_in_item, identity, rank
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject, as_number, is_blank, stringify


class Operation(StrEnum):
    """What is made of the values of a group."""

    COUNT = "count"
    SUM = "sum"
    AVERAGE = "avg"
    MIN = "min"
    MAX = "max"
    UNIQUE = "unique"
    FIRST = "first"
    LAST = "last"
    CONCAT = "concat"


class Metric(NodeSettings):
    """One figure: an operation on the values that a field has in a group."""

    operation: Operation = Field(default=Operation.COUNT, validation_alias=spelled("operation", "op", "type"))
    field: str = Field(default="", validation_alias=spelled("field", "path"))
    name: str = Field(default="", validation_alias=spelled("as", "name"))
    separator: str = ", "

    @property
    def key(self) -> str:
        """What the figure is called."""
        return self.name or "_".join(word for word in (self.operation.value, self.field) if word)


class Aggregate(ListSettings):
    """One operation on a field, or several as `metrics`, over the whole list or for each group of it."""

    operation: Operation = Operation.COUNT
    field: str = ""
    separator: str = ", "
    group_by: str = ""
    metrics: list[Metric] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, raw: Any) -> Any:
        is_given = isinstance(raw, dict)
        return {k: v for k, v in raw.items() if not is_blank(v) or k == "separator"} if is_given else raw

    @field_validator("metrics", mode="before")
    @classmethod
    def _read_words(cls, raw: object) -> object:
        return (
            [{"op": metric} if isinstance(metric, str) else metric for metric in raw]
            if isinstance(raw, list)
            else raw
        )

    @property
    def main(self) -> Metric:
        """The one operation that is no metric of its own."""
        return Metric(operation=self.operation, field=self.field, separator=self.separator)


@node_type("aggregate", config=Aggregate, gives=("value", "groups"))
def aggregate(task: Task[Aggregate]) -> Output:
    """Count the items of a list, or make figures of one of their fields, for all or for each group."""
    config = task.config
    items = items_of(task, config)
    seen = items[: config.max_items]
    truncated: JsonObject = {"truncated": len(items) > len(seen)}
    if not config.group_by:
        return structured({**_figures(seen, config), **truncated})
    by_key: dict[str, tuple[JsonValue, list[JsonValue]]] = {}
    for item in seen:
        key = find_in_item(item, config.group_by)
        by_key.setdefault(identity(key), (key, []))[1].append(item)
    groups: list[JsonValue] = [
        {"key": key, **_figures(members, config), "count": len(members)} for key, members in by_key.values()
    ]
    return structured({"groups": groups, **truncated}, text=groups)


def _figures(items: Sequence[JsonValue], config: Aggregate) -> JsonObject:
    if not config.metrics:
        return {"value": _figure(items, config.main)}
    named: JsonObject = {metric.key: _figure(items, metric) for metric in config.metrics}
    return {"value": named}


def _figure(items: Sequence[JsonValue], metric: Metric) -> JsonValue:
    if metric.operation is Operation.COUNT and not metric.field:
        return len(items)
    values = [find_in_item(item, metric.field) for item in items]
    values = [value for value in values if not is_blank(value)]
    if metric.operation is Operation.CONCAT:
        return metric.separator.join(map(stringify, values))
    return _OPERATIONS[metric.operation](values)


def _numbers(values: Sequence[JsonValue]) -> list[float]:
    numbers = [as_number(value) for value in values]
    if None in numbers:
        raise NodeFailure(f"not_a_number: value {numbers.index(None) + 1} of {len(numbers)} is none")
    return [number for number in numbers if number is not None]


def _sum(values: Sequence[JsonValue]) -> JsonValue:
    return _plain(sum(_numbers(values)))


def _average(values: Sequence[JsonValue]) -> JsonValue:
    return _plain(sum(_numbers(values)) / len(values)) if values else 0


def _plain(number: float) -> JsonValue:
    return int(number) if float(number).is_integer() else number


def _unique(values: Sequence[JsonValue]) -> JsonValue:
    distinct: dict[str, JsonValue] = {}
    for value in values:
        distinct.setdefault(identity(value), value)
    return list(distinct.values())


_OPERATIONS: dict[Operation, Callable[[Sequence[JsonValue]], JsonValue]] = {
    Operation.COUNT: len,
    Operation.SUM: _sum,
    Operation.AVERAGE: _average,
    Operation.MIN: lambda values: min(values, key=rank, default=None),
    Operation.MAX: lambda values: max(values, key=rank, default=None),
    Operation.UNIQUE: _unique,
    Operation.FIRST: lambda values: values[0] if values else None,
    Operation.LAST: lambda values: values[-1] if values else None,
}
