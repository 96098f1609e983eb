"""Set values for all nodes after this one: `set_variables`."""

from __future__ import annotations

from pydantic import Field, JsonValue, field_validator

from app.nodes.data.items import structured
from app.nodes.data.references import TOKEN, resolve
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.inputs import RESERVED_PREFIX
from app.workflow.paths import Missing


class Variables(NodeSettings):
    """Names and values; a value that is exactly `{{node.path}}` or `{{name}}` is what that names."""

    variables: dict[str, JsonValue] = Field(min_length=1)

    @field_validator("variables", mode="before")
    @classmethod
    def _read_pairs(cls, raw: object) -> object:
        if not isinstance(raw, list) or not all(isinstance(pair, dict) for pair in raw):
            return raw
        return {str(pair.get("name", pair.get("key", ""))): pair.get("value") for pair in raw}

    @field_validator("variables")
    @classmethod
    def _refuse_reserved(cls, variables: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if any(not name.strip() or name.startswith(RESERVED_PREFIX) for name in variables):
            raise ValueError(f"a variable needs a name, and one that doesn't begin with {RESERVED_PREFIX}")
        return variables


@node_type("set_variables", config=Variables)
def set_variables(task: Task[Variables]) -> Output:
    """Set variables, which every node after this one has among its inputs."""
    # What another node gave, put in for `[[…]]`, is never read as a name itself.
    written = Variables.model_validate(task.node.config.settings).variables
    found = {
        name: _value(task, name, value) if written.get(name) == value else value
        for name, value in task.config.variables.items()
    }
    output = structured(found)
    return Output(text=output.text, artifact_kind="json", data=found, variables=found)


def _value(task: Task[Variables], name: str, value: JsonValue) -> JsonValue:
    """What a written value stands for."""
    reference = TOKEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if reference is None:
        return value
    found = resolve(task, reference[1])
    if isinstance(found, Missing):
        raise NodeFailure(f"not_found: variables.{name} names '{reference[1]}', which is not there")
    return found
