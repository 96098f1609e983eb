"""Keep the items of a list for which conditions hold: `filter_items`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from app.nodes.data.items import MOST_ITEMS, ListSettings, items_of, structured
from app.nodes.data.values import compare, find_in_item
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, capped, spelled
from app.nodes.task import Task
from app.workflow import Output
from app.workflow.language import ExpressionError, parse_expression
from app.workflow.resolver import Source
from app.workflow.values import JsonObject, is_blank, stringify

#: `item => …` and `(item) => …`: what the builder's form proposes to write.
_ARROW = re.compile(r"\s*\(?\s*([A-Za-z_$][\w$]*)\s*\)?\s*=>\s*(.+?);?\s*", re.DOTALL)


class Relation(StrEnum):
    """How a field and a value are compared."""

    EQUAL = "eq"
    NOT_EQUAL = "neq"
    GREATER = "gt"
    AT_LEAST = "gte"
    LESS = "lt"
    AT_MOST = "lte"
    CONTAINS = "contains"
    IN = "in"
    EXISTS = "exists"


_OTHER_NAMES = {
    **{"equals": "eq", "==": "eq", "===": "eq", "not_equals": "neq", "ne": "neq", "!=": "neq", "!==": "neq"},
    **{"greater_than": "gt", ">": "gt", ">=": "gte", "less_than": "lt", "<": "lt", "<=": "lte"},
    **{"is_not_empty": "exists"},
}


def _known_name(raw: object) -> object:
    return _OTHER_NAMES.get(raw.strip(), raw.strip()) if isinstance(raw, str) else raw


class Criterion(NodeSettings):
    """A field, by its dotted path, and what must be true of it."""

    field: str = Field(default="", validation_alias=spelled("field", "path", "key"))
    operator: Annotated[Relation, BeforeValidator(_known_name)] = Relation.EQUAL
    value: JsonValue = None

    def holds(self, item: JsonValue) -> bool:
        """Whether it is true of an item; what can't be compared is false."""
        found = find_in_item(item, self.field)
        match self.operator:
            case Relation.EQUAL:
                return stringify(found) == stringify(self.value)
            case Relation.NOT_EQUAL:
                return stringify(found) != stringify(self.value)
            case Relation.CONTAINS:
                return _contains(found, self.value)
            case Relation.IN:
                return _contains(_choices(self.value), found)
            case Relation.EXISTS:
                return is_blank(found) is (self.value in (False, "false"))
        return _is_ordered(self.operator, found, self.value)


def _contains(whole: JsonValue, part: JsonValue) -> bool:
    if isinstance(whole, list):
        return stringify(part) in map(stringify, whole)
    return isinstance(whole, str) and stringify(part) in whole


def _choices(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, list):
        return value
    return [choice.strip() for choice in stringify(value).split(",")]


def _is_ordered(relation: Relation, found: JsonValue, value: JsonValue) -> bool:
    order = compare(found, value)
    if order is None:
        return False
    return {
        Relation.GREATER: order > 0,
        Relation.AT_LEAST: order >= 0,
        Relation.LESS: order < 0,
        Relation.AT_MOST: order <= 0,
    }[relation]


def _readable(condition: str) -> str:
    try:
        parse_expression(_split(condition)[1])
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return condition


def _split(condition: str) -> tuple[str, str]:
    """The name that a condition gives to an item, and the expression."""
    arrow = _ARROW.fullmatch(condition)
    return (arrow[1], arrow[2]) if arrow else ("item", condition)


class Filter(ListSettings):
    """One test, or several, or a condition in words such as `price > 5 && tags.includes('new')`.

    In a condition the item's own keys have their names, and the item itself is called `item`.
    """

    field: str = Field(default="", validation_alias=spelled("field", "path"))
    operator: Annotated[Relation, BeforeValidator(_known_name)] | None = None
    value: JsonValue = None
    conditions: list[Criterion] = Field(default_factory=list)
    match: Literal["and", "or"] = "and"
    condition: Annotated[str, AfterValidator(_readable)] | None = Field(
        default=None, validation_alias=spelled("condition", "expression")
    )
    limit: Annotated[int, capped(1, MOST_ITEMS)] = Field(default=MOST_ITEMS, ge=1, le=MOST_ITEMS)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, raw: object) -> object:
        """Forms save what nobody filled in as empty text."""
        if not isinstance(raw, dict):
            return raw
        words = {"all": "and", "any": "or", "AND": "and", "OR": "or"}
        given = {key: value for key, value in raw.items() if not is_blank(value) or key == "value"}
        return given | ({"match": words.get(given["match"], given["match"])} if "match" in given else {})

    @property
    def tests(self) -> list[Criterion]:
        """All tests; none keep every item."""
        if not self.field:
            return self.conditions
        relation = self.operator or (Relation.EQUAL if "value" in self.model_fields_set else Relation.EXISTS)
        return [Criterion(field=self.field, operator=relation, value=self.value), *self.conditions]

    def keeps(self, item: JsonValue) -> bool:
        """Whether an item stays."""
        holds = [test.holds(item) for test in self.tests]
        passes = (all(holds) if self.match == "and" else any(holds)) if holds else True
        return passes and (self.condition is None or _is_true(self.condition, item))


def _is_true(condition: str, item: JsonValue) -> bool:
    name, expression = _split(condition)
    names: JsonObject = {**Source(item).names, "item": item, name: item}
    return parse_expression(expression).holds(names)


@node_type("filter_items", config=Filter, gives=("items", "inputCount", "outputCount", "truncated"))
def keep(task: Task[Filter]) -> Output:
    """Keep the items of a list for which conditions hold."""
    items = items_of(task, task.config)
    seen = items[: task.config.max_items]
    kept = [item for item in seen if task.config.keeps(item)][: task.config.limit]
    return structured(
        {
            "items": kept,
            "inputCount": len(items),
            "outputCount": len(kept),
            "truncated": len(items) > len(seen),
        }
    )
