"""Conditions of edges: what must be true of the source's output for the edge to count."""

from __future__ import annotations

from functools import cached_property

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.workflow.language import Expression, Operator, parse_expression
from app.workflow.resolver import Source, value_at
from app.workflow.values import JsonObject


class Condition(BaseModel):
    """An operator with its operand, or an expression, or both; both must hold then.

    The operator looks at the value that the edge's source key gives. In an expression that value is called
    `value`, and all else that a path into the source's output may begin with has its own name.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    operator: Operator | None = Field(
        default=None, validation_alias=AliasChoices("type", "kind", "operator", "op")
    )
    value: JsonValue = Field(default=None, validation_alias=AliasChoices("value", "operand"))
    expression: str | None = Field(default=None, validation_alias=AliasChoices("expression", "expr"))

    @model_validator(mode="before")
    @classmethod
    def _read_bare_text(cls, raw: object) -> object:
        return {"expression": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _check(self) -> Condition:
        if self.operator is None and self.expression is None:
            raise ValueError("a condition needs a type or an expression")
        _ = self.parsed
        return self

    @cached_property
    def parsed(self) -> Expression | None:
        """The expression, parsed."""
        return None if self.expression is None else parse_expression(self.expression)

    def holds(self, output_data: JsonObject, key: str) -> bool:
        """Whether the condition is true of a completed node's output."""
        value = value_at(output_data, key)
        if self.operator is not None and not self.operator.holds(value, self.value):
            return False
        if self.parsed is None:
            return True
        return self.parsed.holds({**output_data, **Source.of_output(output_data).names, "value": value})
