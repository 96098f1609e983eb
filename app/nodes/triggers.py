"""Triggers: what a run was started with, for the nodes after them."""

from __future__ import annotations

from pydantic import Field

from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject


@node_type("manual_trigger", "webhook_trigger", "schedule_trigger")
def hand_in(task: Task[NodeSettings]) -> Output:
    """Give what the run was started with."""
    return Output(artifact_kind="json", data=dict(task.work.labels))


class EventTrigger(NodeSettings):
    """The settings of an event trigger."""

    event_type: str = Field(default="unknown", validation_alias=spelled("eventType"))


@node_type("event_trigger", config=EventTrigger, gives=("eventType", "event"))
def hand_in_event(task: Task[EventTrigger]) -> Output:
    """Give the event that started the run, as a whole beside its own keys."""
    labels = task.work.labels
    data: JsonObject = {**labels, "eventType": task.config.event_type or "unknown", "event": dict(labels)}
    return Output(artifact_kind="json", data=data)


class FormField(NodeSettings):
    """A field of a form; documents call its name `key`."""

    name: str = Field(validation_alias=spelled("name", "key"))
    required: bool = False


class Form(NodeSettings):
    """The settings of a form trigger."""

    fields: list[FormField] = Field(default_factory=list)


@node_type("form_input_trigger", config=Form, gives=("formData",))
def hand_in_form(task: Task[Form]) -> Output:
    """Give the fields of a form, all that are required among them."""
    labels, fields = task.work.labels, task.config.fields
    missing = [field.name for field in fields if field.required and labels.get(field.name) in (None, "")]
    if missing:
        raise NodeFailure(f"missing_required: {', '.join(missing)}")
    filled: JsonObject = {field.name: labels.get(field.name) for field in fields}
    return Output(artifact_kind="json", data={**labels, "formData": filled})
