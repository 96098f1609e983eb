"""What `if_condition` and `switch` nodes decide; edges then route by `branch` and `matchedBranch`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from app.nodes.settings import NodeSettings, spelled
from app.workflow import NodeFailure
from app.workflow.language import ExpressionError, Operator, parse_expression
from app.workflow.paths import Missing
from app.workflow.resolver import Source
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

    def holds(self, upstream: Source) -> bool:
        """Whether the test is true of the upstream; raises `ExpressionError`."""
        source = _part(upstream, self.input_path)
        subject = source.value
        if self.expression and self.expression.strip():
            expression = parse_expression(self.expression)
            if not expression.is_path:
                return expression.holds(source.names)
            subject = expression.evaluate(source.names)
        return (self.operator or Operator.IS_NOT_EMPTY).holds(subject, self.value)


class Case(Comparison):
    """One case of a switch; without a label it is called by its place."""

    label: str | None = None


class Switch(NodeSettings):
    """The settings of a switch node."""

    cases: list[Case] = Field(default_factory=list, max_length=MOST_CASES)
    default_branch: str = "default"
    input_path: str = ""


def take_branch(test: Comparison, upstream: Source, node_id: str) -> JsonObject:
    """The data of an if node: `branch` is `'true'` or `'false'`; raises `NodeFailure`."""
    try:
        matched = test.holds(upstream)
    except ExpressionError as error:
        raise _unusable(error) from None
    return {"branch": "true" if matched else "false", "matched": matched, "nodeId": node_id}


def take_case(switch: Switch, upstream: Source) -> JsonObject:
    """The data of a switch node: the first case that matches, or the default with index -1."""
    try:
        source = _part(upstream, switch.input_path)
        for index, case in enumerate(switch.cases):
            if case.holds(source):
                return {"matchedBranch": case.label or str(index), "matchedIndex": index}
    except ExpressionError as error:
        raise _unusable(error) from None
    return {"matchedBranch": switch.default_branch, "matchedIndex": -1}


def _part(source: Source, path: str) -> Source:
    """What lies at a path, the whole without one; null where there is nothing."""
    if not path.strip():
        return source
    found = source.find(path)
    return Source(None if isinstance(found, Missing) else found)


def _unusable(error: ExpressionError) -> NodeFailure:
    return NodeFailure(f"invalid_config: expression, {error}")
