"""The contracts of a lens version: what its inputs and its output must look like."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.errors import GiveUp
from app.workflow.fields import FieldSchema, problem
from app.workflow.outputs import data_of
from app.workflow.results import NodeFailure
from app.workflow.statuses import NodeStatus
from app.workflow.values import JsonObject, is_blank


class InputContract(BaseModel):
    """What labels a lens version takes."""

    model_config = ConfigDict(frozen=True)

    kind: str
    fields: dict[str, FieldSchema] = Field(default_factory=dict)
    require_any_of: list[list[str]] = Field(
        default_factory=list, validation_alias=AliasChoices("requireAnyOf", "require_any_of")
    )
    strict: bool = False

    @property
    def optional_labels(self) -> frozenset[str]:
        """The labels that a template may leave unfilled."""
        return frozenset(label for label, schema in self.fields.items() if not schema.required)


class OutputContract(BaseModel):
    """What a lens version gives: the kind of the whole, and a schema for each field of its data."""

    model_config = ConfigDict(frozen=True)

    kind: str
    artifact_kind: str = Field(validation_alias=AliasChoices("artifactKind", "artifact_kind"))
    fields: dict[str, FieldSchema] = Field(
        default_factory=dict, validation_alias=AliasChoices("schema", "fields")
    )


ContractModel = TypeVar("ContractModel", InputContract, OutputContract)


def read_contract(model: type[ContractModel], raw: JsonValue) -> ContractModel | None:
    """Parse a stored contract; null is no contract. Raises `GiveUp` `workflow.contract` for a bad one."""
    if raw is None:
        return None
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        keys = sorted({".".join(map(str, found["loc"])) for found in error.errors()})
        raise GiveUp("workflow.contract", f"the contract can't be read: {', '.join(keys)}") from None


def check_input(contract: InputContract, labels: JsonObject, bound: Collection[str]) -> None:
    """Raise `NodeFailure` `input_contract_violation` that lists everything wrong with a node's labels.

    A strict contract refuses labels it doesn't know, but only `bound` ones, those fed by the node's own edges
    and overrides: the inputs of the whole run reach every node, and most of them are meant for others.
    """
    problems = [
        found
        for label, schema in contract.fields.items()
        for found in schema.problems(label, labels.get(label))
    ]
    problems += [
        problem("|".join(group), "missing_required", "one of these is needed")
        for group in contract.require_any_of
        if all(is_blank(labels.get(label)) for label in group)
    ]
    if contract.strict:
        unknown = sorted(set(bound) - contract.fields.keys())
        problems += [problem(label, "unknown_field", "not part of the contract") for label in unknown]
    if problems:
        raise NodeFailure("input_contract_violation", output_data={"contractErrors": list(problems)})


def check_output(contract: OutputContract | None, output_data: JsonObject, *, needs_output: bool) -> None:
    """Raise `NodeFailure`, status `invalidated`, that lists everything wrong with a node's output.

    `needs_output` is for answers of a model, which must not be empty, contract or not. The fields of a
    contract are looked for in the output's structured data. Such a failure is never retried.
    """
    problems: list[JsonObject] = []
    if needs_output and is_blank(output_data.get("output")):
        problems.append(problem("output", "invalid_envelope", "the output is empty"))
    if contract is not None:
        data = data_of(output_data)
        known = data if isinstance(data, dict) else {"output": output_data.get("output")}
        for name, schema in contract.fields.items():
            problems += schema.problems(name, known.get(name))
    if problems:
        raise NodeFailure(
            "output_contract_violation",
            status=NodeStatus.INVALIDATED,
            output_data={"contractErrors": list(problems), "envelope": output_data},
        )
