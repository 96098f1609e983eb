"""What `if_condition` and `switch` nodes decide; edges then route by `branch` and `matchedBranch`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from app.nodes.settings import NodeSettings, spelled
from app.workflow import NodeFailure
from app.workflow.language import ExpressionError, Operator, parse_expression
from app.workflow.paths import lookup
from app.workflow.values import JsonObject

#: Most cases of one switch.
MOST_CASES = 100


def _readable(expression: str) -> str:
    if expression.strip():
        try:
            parse_expression(expression)
        except ExpressionError as error:
            raise ValueError(str(error)) from None
    return expression


class Comparison(NodeSettings):
    """An operator on a value, or an expression; an expression that only names a value is a path to it."""

    operator: Operator | None = None
    value: JsonValue = None
    expression: Annotated[str, AfterValidator(_readable)] | None = Field(
        default=None, validation_alias=spelled("expression", "condition")
    )
    input_path: str = ""

    def holds(self, data: JsonValue) -> bool:
        """Whether the test is true of the upstream's data; raises `ExpressionError`."""
        subject = lookup(_names(data), self.input_path) if self.input_path.strip() else data
        if self.expression and self.expression.strip():
            expression = parse_expression(self.expression)
            if not expression.is_path:
                return expression.holds(_names(subject))
            subject = expression.evaluate(_names(subject))
        return (self.operator or Operator.IS_NOT_EMPTY).holds(subject, self.value)


class Case(Comparison):
    """One case of a switch; without a label it is called by its place."""

    label: str | None = None


class Switch(NodeSettings):
    """The settings of a switch node."""

    cases: list[Case] = Field(default_factory=list, max_length=MOST_CASES)
    default_branch: str = "default"
    input_path: str = ""


def take_branch(test: Comparison, data: JsonValue, node_id: str) -> JsonObject:
    """The data of an if node: `branch` is `'true'` or `'false'`; raises `NodeFailure`."""
    try:
        matched = test.holds(data)
    except ExpressionError as error:
        raise _unusable(error) from None
    return {"branch": "true" if matched else "false", "matched": matched, "nodeId": node_id}


def take_case(switch: Switch, data: JsonValue) -> JsonObject:
    """The data of a switch node: the first case that matches, or the default with index -1."""
    try:
        subject = lookup(_names(data), switch.input_path) if switch.input_path.strip() else data
        for index, case in enumerate(switch.cases):
            if case.holds(subject):
                return {"matchedBranch": case.label or str(index), "matchedIndex": index}
    except ExpressionError as error:
        raise _unusable(error) from None
    return {"matchedBranch": switch.default_branch, "matchedIndex": -1}


def _names(data: JsonValue) -> JsonObject:
    """What paths and expressions may name: the keys of the data, and all of it as `value` and `input`."""
    whole: JsonObject = {"value": data, "input": data}
    return {**whole, **data} if isinstance(data, dict) else whole


def _unusable(error: ExpressionError) -> NodeFailure:
    return NodeFailure(f"invalid_config: expression, {error}")
