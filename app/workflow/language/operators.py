"""The comparisons that edges, if nodes and switch nodes share."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import StrEnum

from pydantic import JsonValue

from app.workflow.language.patterns import matches
from app.workflow.values import as_number, is_blank, is_truthy, stringify


class Operator(StrEnum):
    """A comparison of a value with an operand; the first two look at the value alone."""

    PRESENT = "present"
    TRUTHY = "truthy"
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    GREATER_THAN = "greater_than"
    LESS_THAN = "less_than"
    REGEX_MATCH = "regex_match"
    IS_EMPTY = "is_empty"
    IS_NOT_EMPTY = "is_not_empty"

    def holds(self, value: JsonValue, operand: JsonValue = None) -> bool:
        """Whether the comparison is true; values that can't be compared make it false."""
        return _COMPARISONS[self](value, operand)


def _equals(value: JsonValue, operand: JsonValue) -> bool:
    return stringify(value) == stringify(operand)


def _contains(value: JsonValue, operand: JsonValue) -> bool:
    return isinstance(value, str) and isinstance(operand, str) and operand in value


def _not_contains(value: JsonValue, operand: JsonValue) -> bool:
    return isinstance(value, str) and isinstance(operand, str) and operand not in value


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[JsonValue, JsonValue], bool]:
    def compare_numbers(value: JsonValue, operand: JsonValue) -> bool:
        left, right = as_number(value), as_number(operand)
        return left is not None and right is not None and compare(left, right)

    return compare_numbers


def _matches(value: JsonValue, operand: JsonValue) -> bool:
    return isinstance(operand, str) and matches(operand, stringify(value))


def _is_empty(value: JsonValue) -> bool:
    return is_blank(value) or (isinstance(value, list | dict) and not value)


_COMPARISONS: dict[Operator, Callable[[JsonValue, JsonValue], bool]] = {
    Operator.PRESENT: lambda value, _: not is_blank(value),
    Operator.TRUTHY: lambda value, _: is_truthy(value),
    Operator.EQUALS: _equals,
    Operator.NOT_EQUALS: lambda value, operand: not _equals(value, operand),
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _not_contains,
    Operator.GREATER_THAN: _numeric(operator.gt),
    Operator.LESS_THAN: _numeric(operator.lt),
    Operator.REGEX_MATCH: _matches,
    Operator.IS_EMPTY: lambda value, _: _is_empty(value),
    Operator.IS_NOT_EMPTY: lambda value, _: not _is_empty(value),
}
