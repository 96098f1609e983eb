"""Webhooks of workflows: they go into the platform's outbox, which signs and delivers them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.filling import filled_text, filled_value, stored
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.web.allow_lists import GuardedSettings, destination_of
from app.nodes.web.requests import Fields
from app.platform import node_effects
from app.platform.node_effects import Standing
from app.texts.json_text import parse_json
from app.webhooks.outbox import add_webhook
from app.workflow import NodeFailure, Output
from app.workflow.values import compact_json

#: The event type of every webhook of a workflow: authors can't pass theirs for the platform's.
EVENT_TYPE = "workflow.webhook"
#: Longest body, in characters of JSON.
LONGEST_BODY = 1_048_576


class Webhook(GuardedSettings):
    """The settings of a webhook; attempts and their times are the outbox's."""

    method: Annotated[Literal["POST"], BeforeValidator(lambda value: str(value).upper())] = "POST"
    headers: Fields = Field(default_factory=dict)
    body_template: JsonValue = Field(default="", validation_alias=spelled("bodyTemplate", "body"))


def _complaint(settings: Webhook) -> str | None:
    if settings.headers:
        return "headers: a webhook carries its signature and no headers of its own; use http_request for that"
    return settings.complaint_about_destination()


@node_type(
    "webhook_sender",
    config=Webhook,
    gives=("webhookId", "queued", "bodyLength"),
    effect=Effect.SENDS,
    check=_complaint,
)
def queue_webhook(task: Task[Webhook]) -> Output:
    """Hand a signed webhook to the outbox, once; delivery is tried for three days, and the run goes on."""
    url, body = destination_of(task), _body_of(task)
    length = len(compact_json(body))
    if length > LONGEST_BODY:
        raise NodeFailure(f"webhook_too_large: the body has more than {LONGEST_BODY} characters")
    effect = node_effects.Effect(task.run.run_id, task.node_id, "webhook")
    with task.database.transaction() as tx:
        begun = node_effects.begin_in(tx, effect)
        receipt = begun.receipt
        if begun.standing is Standing.NEW:
            webhook_id = add_webhook(tx, event_type=EVENT_TYPE, payload=body, target_url=url)
            receipt = {"webhookId": str(webhook_id), "queued": True, "bodyLength": length}
            node_effects.keep_receipt_in(tx, effect, receipt)
    return Output(text=task.text, artifact_kind="json", data=receipt)


def _body_of(task: Task[Webhook]) -> JsonValue:
    """The filled template, else what the first parent gave; what is no JSON is the `text` of an object."""
    template = stored(task, "body_template")
    if template in ("", None):
        given = task.subject
        return given if isinstance(given, dict | list) else {"text": given}
    if isinstance(template, str) and not isinstance(parse_json(template), dict | list):
        filled = filled_text(task, "body_template")
        parsed = parse_json(filled)
        return parsed if isinstance(parsed, dict | list) else {"text": filled}
    return filled_value(task, "body_template")
