"""Mails of workflows, by the deployer's mail server or by Resend."""

from __future__ import annotations

import html
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from app.http import AllowList
from app.mail import (
    Mail,
    MailRefusedError,
    MailServer,
    SmtpError,
    checked_subject,
    send_by_smtp,
)
from app.nodes.effects import SendSettings, Unsent, do_once
from app.nodes.filling import filled_text
from app.nodes.messages.resend import send_by_resend
from app.nodes.pasted import Addresses
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.web.outbound import LONGEST_SECONDS, quoted
from app.settings import settings
from app.workflow import Cause, NodeFailure, Output
from app.workflow.values import JsonObject

MOST_MAILS_PER_RUN = 50
#: Longest body; what is longer is cut.
LONGEST_BODY = 100_000


class EmailSettings(SendSettings):
    """The settings of a mail; without a body it is the first parent's text."""

    to: Annotated[Addresses, Field(min_length=1)]
    cc: Addresses = Field(default_factory=list)
    reply_to: Annotated[Addresses, Field(max_length=1)] = Field(default_factory=list)
    subject: str = Field(min_length=1)
    body_template: str = Field(default="", validation_alias=spelled("bodyTemplate", "body", "text"))
    format: Annotated[Literal["text", "html"], BeforeValidator(lambda value: value or "text")] = "text"
    provider: Annotated[Literal["smtp", "resend"] | None, BeforeValidator(lambda value: value or None)] = None


def missing_mail_service() -> str | None:
    """What the deployment lacks to send mails, or None."""
    if _service(None) is None:
        return "this deployment sends no mail: neither WORKER_SMTP_URL nor RESEND_API_KEY is set"
    return None if settings().mail_from else "this deployment sends no mail: WORKER_MAIL_FROM is not set"


def _complaint(config: EmailSettings) -> str | None:
    return missing_mail_service() or (
        None if _service(config.provider) else f"provider: this deployment has no '{config.provider}'"
    )


@node_type(
    "email_send",
    config=EmailSettings,
    gives=("to", "subject", "bodyLength", "messageId", "provider", "refused"),
    effect=Effect.SENDS,
    check=_complaint,
    needs=missing_mail_service,
)
def send_email(task: Task[EmailSettings]) -> Output:
    """Send a mail, once."""
    mail, service = _mail_of(task), _service(task.config.provider)

    def send() -> JsonObject:
        sent = send_by_resend(task, mail) if service == "resend" else _by_smtp(task, mail)
        told: JsonObject = {"to": [*mail.to], "subject": mail.subject, "bodyLength": len(mail.body)}
        return {**told, "provider": service, **sent}

    receipt = do_once(
        task,
        "email",
        send,
        may_repeat=service == "resend" or task.config.on_unknown == "resend",
        most_per_run=MOST_MAILS_PER_RUN,
    )
    return Output(text=mail.body, artifact_kind="json", data=receipt)


def _mail_of(task: Task[EmailSettings]) -> Mail:
    config = task.config
    is_html = config.format == "html"
    escape = html.escape if is_html else str
    body = filled_text(task, "body_template", escape) if config.body_template.strip() else escape(task.text)
    if not body.strip():
        raise NodeFailure("mail.empty: there is neither a body nor a text of a parent")
    try:
        subject = checked_subject(filled_text(task, "subject"))
    except MailRefusedError as error:
        raise NodeFailure(f"mail.refused: {error}") from None
    return Mail(
        sender=settings().mail_from,
        to=config.to,
        cc=config.cc,
        reply_to=next(iter(config.reply_to), ""),
        subject=subject,
        body=body[:LONGEST_BODY],
        key=task.idempotency_key,
        is_html=is_html,
    )


def _service(wanted: str | None) -> str | None:
    """The service to send by: the one wanted if it is configured, else Resend before a mail server."""
    has = {
        "resend": bool(settings().resend_api_key.get_secret_value().strip()),
        "smtp": bool(settings().smtp_url.get_secret_value().strip()),
    }
    return next((name for name in ([wanted] if wanted else has) if has[name]), None)


def _by_smtp(task: Task[EmailSettings], mail: Mail) -> JsonObject:
    allowed = AllowList.parse(settings().outbound_allowed_hosts)
    server = MailServer.parse(settings().smtp_url, allowed)
    try:
        refused = send_by_smtp(server, mail, timeout_seconds=min(task.timeout_seconds, LONGEST_SECONDS))
    except SmtpError as error:
        cause = Cause.PROVIDER_ERROR if error.is_transient else None
        failure = Unsent if error.is_unsent else NodeFailure
        raise failure(f"mail.not_sent: {quoted(error.message)}", cause=cause) from None
    return {"messageId": mail.message_id, "refused": [*refused]}
