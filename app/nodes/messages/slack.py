"""Slack: by an incoming webhook, or by `chat.postMessage` with the token of a connector."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.nodes.credentials import credential_of
from app.nodes.effects import Unsent
from app.nodes.messages.chat import ChatSettings, complaint_about_webhook, glance, send_once
from app.nodes.pasted import SecretUrl, named_in_url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.web.outbound import post_json, quoted, raise_for_status
from app.redaction import remember_secret_url
from app.settings import settings
from app.workflow import Cause, NodeFailure, Output
from app.workflow.values import JsonObject

#: Longest text of a message; Slack cuts what is longer.
LONGEST_TEXT = 40_000

_SCOPES = ("chat:write",)
#: Errors of Slack's Web API after which the same call may succeed.
_TRANSIENT = frozenset(
    {"ratelimited", "rate_limited", "service_unavailable", "internal_error", "fatal_error"}
)


#: A channel's id or name, or what a link to it or a mention of it says.
_CHANNEL = named_in_url(r"/archives/([A-Z0-9]+)", r"^<?#([A-Z0-9]+)\|")


class SlackSettings(ChatSettings):
    """The settings of a Slack message: an incoming webhook's URL, or a connector and a channel."""

    webhook_url: SecretUrl = SecretStr("")
    connector_ref: str = ""
    channel_id: Annotated[str, _CHANNEL] = Field(default="", validation_alias=spelled("channelId", "channel"))

    @model_validator(mode="after")
    def _goes_somewhere(self) -> SlackSettings:
        if not self.webhook_url.get_secret_value() and not (self.connector_ref and self.channel_id):
            raise ValueError("a webhookUrl, or a connectorRef and a channelId are needed")
        return self


@node_type(
    "slack_notify",
    config=SlackSettings,
    gives=("messageLength", "channel", "ts"),
    effect=Effect.SENDS,
    check=lambda config: complaint_about_webhook(config.webhook_url),
)
def notify_slack(task: Task[SlackSettings]) -> Output:
    """Send a message to Slack, once."""
    text = task.config.message(task, LONGEST_TEXT, _escape)
    url = task.config.webhook_url.get_secret_value()
    if url:
        remember_secret_url(url)
        return send_once(task, "slack_message", text, lambda: _post_to_webhook(task, url, text))
    token = credential_of(task, task.config.connector_ref, _SCOPES)
    return send_once(task, "slack_message", text, lambda: _post_as_bot(task, token, text))


def _post_to_webhook(task: Task[SlackSettings], url: str, text: str) -> JsonObject:
    response = post_json(task, url, {"text": text})
    raise_for_status("slack", response, url)
    return {}


class _Posted(BaseModel):
    """Slack's answer to chat.postMessage."""

    model_config = ConfigDict(extra="ignore")

    ok: bool
    channel: str = ""
    ts: str = ""
    error: str = ""


def _post_as_bot(task: Task[SlackSettings], token: str, text: str) -> JsonObject:
    response = post_json(
        task,
        f"{settings().slack_base_url.rstrip('/')}/chat.postMessage",
        {"channel": task.config.channel_id, "text": text},
        {"Authorization": f"Bearer {token}"},
    )
    raise_for_status("slack", response, token)
    posted = glance(_Posted, response)
    if posted is None:
        raise NodeFailure("slack.unreadable: Slack's answer can't be read", cause=Cause.PROVIDER_ERROR)
    if not posted.ok:
        cause = Cause.PROVIDER_ERROR if posted.error in _TRANSIENT else None
        failure = NodeFailure if posted.error in ("internal_error", "fatal_error") else Unsent
        raise failure(f"slack.refused: {quoted(posted.error, token)}", cause=cause)
    return {"channel": posted.channel, "ts": posted.ts}


def _escape(text: str) -> str:
    """What is filled in must not call a whole channel (`<!channel>`) or pose as a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
