"""What nodes do that ask nobody: triggers, decisions, merges, and passing on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.engine.merging import merge_branches
from app.workflow import NodeFailure, Output, Work, data_of, take_branch, take_case
from app.workflow.values import JsonObject

#: What a runner makes of a node's work; it raises `NodeFailure`, or any `JobError` that speaks of the node.
Runner = Callable[[Work], Output]


def hand_in(work: Work) -> Output:
    """A trigger: what the run was started with, for the nodes after it."""
    return Output(artifact_kind="json", data=dict(work.labels))


def hand_in_event(work: Work) -> Output:
    """A trigger of an event: the event as a whole beside its own keys."""
    event_type = work.settings.get("eventType") or "unknown"
    return Output(
        artifact_kind="json", data={**work.labels, "eventType": event_type, "event": dict(work.labels)}
    )


class FormField(BaseModel):
    """A field of a form; documents call its name `key`."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(validation_alias=AliasChoices("name", "key"))
    required: bool = False


class Form(BaseModel):
    """The settings of a form trigger."""

    fields: list[FormField] = Field(default_factory=list)


def hand_in_form(work: Work) -> Output:
    """A trigger of a form: its fields, all that are required among them."""
    try:
        fields = Form.model_validate(work.settings).fields
    except ValidationError:
        raise NodeFailure("invalid_config: fields") from None
    missing = [field.name for field in fields if field.required and work.labels.get(field.name) in (None, "")]
    if missing:
        raise NodeFailure(f"missing_required: {', '.join(missing)}")
    filled: JsonObject = {field.name: work.labels.get(field.name) for field in fields}
    return Output(artifact_kind="json", data={**work.labels, "formData": filled})


def decide(work: Work) -> Output:
    """An if: which of two ways to go."""
    return Output(artifact_kind="json", data=take_branch(dict(work.settings), subject_of(work), work.node.id))


def choose(work: Work) -> Output:
    """A switch: which of many ways to go."""
    return Output(artifact_kind="json", data=take_case(dict(work.settings), subject_of(work)))


def merge(work: Work) -> Output:
    """All parents' outputs as one."""
    return merge_branches(work)


def pass_on(work: Work) -> Output:
    """The first parent's output as it is."""
    if not work.parents:
        return Output(data=dict(work.labels))
    _, given = work.parents[0]
    data = data_of(given)
    return Output(text=str(given.get("output") or ""), data=data if isinstance(data, dict) else {})


def subject_of(work: Work) -> JsonValue:
    """What a node looks at: the data of its first parent, else that one's text; without one, its labels."""
    if not work.parents:
        return dict(work.labels)
    _, given = work.parents[0]
    data = data_of(given)
    return given.get("output") if data is None else data


#: The node types that run without asking anybody.
RUNNERS: Mapping[str, Runner] = {
    "manual_trigger": hand_in,
    "webhook_trigger": hand_in,
    "schedule_trigger": hand_in,
    "event_trigger": hand_in_event,
    "form_input_trigger": hand_in_form,
    "if_condition": decide,
    "switch": choose,
    "merge": merge,
    "pass_through": pass_on,
}

#: Every type that a graph may have besides lens nodes; the start of a run with another one is refused.
KNOWN_TYPES = frozenset(RUNNERS)
