"""Telegram: by the Bot API, with a bot's token."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.nodes.credentials import credential_of
from app.nodes.messages.chat import ChatSettings, glance, send_once
from app.nodes.pasted import named_in_url
from app.nodes.registry import Effect, node_type
from app.nodes.task import Task
from app.nodes.web.outbound import post_json, raise_for_status
from app.redaction import remember_secret
from app.settings import settings
from app.workflow import Output
from app.workflow.values import JsonObject

#: Longest text of a message; Telegram refuses what is longer.
LONGEST_TEXT = 4_096


def _as_chat(name: str) -> str:
    """The id of a chat, or the name of a public one, which the Bot API wants with its sign."""
    return f"@{name}" if re.fullmatch(r"[A-Za-z]\w{4,31}", name) else name


class TelegramSettings(ChatSettings):
    """The settings of a Telegram message: a bot's token, or a connector, and the chat."""

    bot_token: Annotated[SecretStr, named_in_url(r"(?:^|/)bot(\d+:[\w-]+)")] = SecretStr("")
    connector_ref: str = ""
    chat_id: Annotated[
        str,
        Field(min_length=1, coerce_numbers_to_str=True),
        AfterValidator(_as_chat),
        named_in_url(
            r"^(?:https?://)?(?:www\.)?(?:t|telegram)\.me/(?:s/)?(?!c/|joinchat/)(\w+)/?(?:\d+/?)?$"
        ),
    ]

    @model_validator(mode="after")
    def _has_a_bot(self) -> TelegramSettings:
        if not self.bot_token.get_secret_value().strip() and not self.connector_ref:
            raise ValueError("a botToken or a connectorRef is needed")
        return self


class _Parameters(BaseModel):
    """Why a call failed, for programs."""

    model_config = ConfigDict(extra="ignore")

    retry_after: float | None = None


class _Message(BaseModel):
    """The message that was sent."""

    model_config = ConfigDict(extra="ignore")

    message_id: int


class _Answer(BaseModel):
    """An answer of the Bot API."""

    model_config = ConfigDict(extra="ignore")

    description: str | None = None
    parameters: _Parameters = _Parameters()
    result: _Message | None = None


@node_type(
    "telegram_notify", config=TelegramSettings, gives=("messageLength", "messageId"), effect=Effect.SENDS
)
def notify_telegram(task: Task[TelegramSettings]) -> Output:
    """Send a message to a Telegram chat, once."""
    text = task.config.message(task, LONGEST_TEXT)
    own = task.config.bot_token.get_secret_value().strip()
    token = own or credential_of(task, task.config.connector_ref)
    remember_secret(token)
    return send_once(task, "telegram_message", text, lambda: _post(task, token, text))


def _post(task: Task[TelegramSettings], token: str, text: str) -> JsonObject:
    url = f"{settings().telegram_base_url.rstrip('/')}/bot{token}/sendMessage"
    response = post_json(task, url, {"chat_id": task.config.chat_id, "text": text})
    answer = glance(_Answer, response) or _Answer()
    raise_for_status(
        "telegram",
        response,
        token,
        reason=answer.description,
        asked_seconds=answer.parameters.retry_after,
    )
    return {"messageId": answer.result.message_id if answer.result else None}
