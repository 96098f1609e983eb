"""Resend: mails over its HTTP API, which knows a mail that is sent again by its key."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from app.http import Response
from app.mail import Mail
from app.nodes.task import Task
from app.nodes.web.outbound import post_json, raise_for_status
from app.redaction import remember_secret
from app.settings import settings
from app.workflow import Cause, NodeFailure
from app.workflow.values import JsonObject


class _Sent(BaseModel):
    """Resend's answer to a mail it has taken."""

    model_config = ConfigDict(extra="ignore")

    id: str


class _Trouble(BaseModel):
    """Resend's answer to a mail it has not."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    message: str = ""


def send_by_resend(task: Task[Any], mail: Mail) -> JsonObject:
    """Hand the mail over and tell its id; raises `NodeFailure`, or `Unsent` if it was certainly not taken."""
    key = settings().resend_api_key.get_secret_value().strip()
    remember_secret(key)
    content: JsonObject = {
        "from": mail.sender,
        "to": [*mail.to],
        "subject": mail.subject,
        "html" if mail.is_html else "text": mail.body,
        "headers": {"Message-ID": mail.message_id, "Auto-Submitted": "auto-generated"},
        **({"cc": [*mail.cc]} if mail.cc else {}),
        **({"reply_to": mail.reply_to} if mail.reply_to else {}),
    }
    response = post_json(
        task,
        f"{settings().resend_base_url.rstrip('/')}/emails",
        content,
        {"Authorization": f"Bearer {key}", "Idempotency-Key": mail.key},
    )
    raise_for_status("mail", response, key, reason=_trouble_of(response))
    try:
        sent = _Sent.model_validate_json(response.json_body)
    except ValidationError:
        raise NodeFailure(
            "mail.unreadable: Resend's answer can't be read", cause=Cause.PROVIDER_ERROR
        ) from None
    return {"messageId": sent.id, "refused": []}


def _trouble_of(response: Response) -> str | None:
    try:
        trouble = _Trouble.model_validate_json(response.json_body)
    except ValidationError:
        return None
    return f"{trouble.name} {trouble.message}".strip()
