"""What messages to all chats have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError

from app.http import Response
from app.nodes.effects import SendSettings, do_once
from app.nodes.filling import Escape, filled_text
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.web.outbound import complaint_about
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

Model = TypeVar("Model", bound=BaseModel)

_CUT = "..."


class ChatSettings(SendSettings):
    """What messages to all chats have; without a template it is the first parent's text."""

    message_template: str = Field(
        default="", validation_alias=spelled("messageTemplate", "text", "content", "message")
    )

    def message(self, task: Task[Any], most_chars: int, escape: Escape = str) -> str:
        """The text to send, cut to what the service takes; raises `NodeFailure` for an empty one."""
        has_template = bool(self.message_template.strip())
        filled = filled_text(task, "message_template", escape) if has_template else escape(task.text)
        if not filled.strip():
            raise NodeFailure("chat.empty: there is neither a template nor a text of a parent")
        return filled if len(filled) <= most_chars else filled[: most_chars - len(_CUT)] + _CUT


def send_once(task: Task[Any], effect: str, text: str, send: Callable[[], JsonObject]) -> Output:
    """Send a message unless an earlier try has; its text goes on to the nodes after it."""
    receipt = do_once(
        task,
        effect,
        lambda: {**send(), "messageLength": len(text)},
        may_repeat=task.config.on_unknown == "resend",
    )
    return Output(text=text, artifact_kind="json", data=receipt)


def complaint_about_webhook(url: SecretStr) -> str | None:
    """Why a webhook's URL would be refused, without the URL."""
    plain = url.get_secret_value()
    found = complaint_about(plain) if plain else None
    return f"webhookUrl: {found}" if found else None


def glance(model: type[Model], response: Response) -> Model | None:
    """The answer of a service, None for one that has another shape."""
    try:
        return model.model_validate_json(response.json_body)
    except ValidationError:
        return None
