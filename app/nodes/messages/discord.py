"""Discord: by the webhook of a channel."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from app.nodes.messages.chat import ChatSettings, complaint_about_webhook, glance, send_once
from app.nodes.pasted import SecretUrl
from app.nodes.registry import Effect, node_type
from app.nodes.task import Task
from app.nodes.web.outbound import post_json, raise_for_status
from app.nodes.web.requests import with_query
from app.redaction import remember_secret_url
from app.workflow import Output
from app.workflow.values import JsonObject

#: Longest content of a message; Discord refuses what is longer.
LONGEST_CONTENT = 2_000


class DiscordSettings(ChatSettings):
    """The settings of a Discord message: the URL of a channel's webhook."""

    webhook_url: SecretUrl

    @field_validator("webhook_url")
    @classmethod
    def _is_there(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("a webhookUrl is needed")
        return value


class _Message(BaseModel):
    """The message that a webhook has made."""

    model_config = ConfigDict(extra="ignore")

    id: str


@node_type(
    "discord_notify",
    config=DiscordSettings,
    gives=("messageLength", "messageId"),
    effect=Effect.SENDS,
    check=lambda config: complaint_about_webhook(config.webhook_url),
)
def notify_discord(task: Task[DiscordSettings]) -> Output:
    """Send a message to a Discord channel, once."""
    text = task.config.message(task, LONGEST_CONTENT)
    url = task.config.webhook_url.get_secret_value()
    remember_secret_url(url)
    return send_once(task, "discord_message", text, lambda: _post(task, url, text))


def _post(task: Task[DiscordSettings], url: str, text: str) -> JsonObject:
    # Asked to wait, Discord answers when the message is there. Nobody is called by what is filled in.
    content: JsonObject = {"content": text, "allowed_mentions": {"parse": []}}
    response = post_json(task, with_query(url, {"wait": "true"}), content)
    raise_for_status("discord", response, url)
    message = glance(_Message, response)
    return {"messageId": message.id if message else None}
