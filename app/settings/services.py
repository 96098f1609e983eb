"""Mail, chat and other services of workflow nodes."""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretStr, field_validator

from app.settings.fields import env, key


class Services(BaseModel):
    """Mail, chat and other services of workflow nodes."""

    smtp_url: SecretStr = env(
        "WORKER_SMTP_URL",
        default=SecretStr(""),
        description="Mail server: smtps://user:password@host:465, or smtp:// to begin TLS with STARTTLS.",
    )
    resend_api_key: SecretStr = key("RESEND_API_KEY", owner="Resend, which sends mail over HTTP")
    resend_base_url: str = env(
        "RESEND_BASE_URL", default="https://api.resend.com", description="Root of Resend's API."
    )
    mail_from: str = env(
        "WORKER_MAIL_FROM",
        default="",
        description="Sender of workflows' mails, an address or `Name <address>`; without it none are sent.",
    )
    slack_base_url: str = env(
        "SLACK_API_BASE_URL", default="https://slack.com/api", description="Root of Slack's Web API."
    )
    telegram_base_url: str = env(
        "TELEGRAM_API_BASE_URL", default="https://api.telegram.org", description="Root of Telegram's Bot API."
    )
    service_roots: str = env(
        "WORKER_SERVICE_ROOTS",
        default="",
        description="Roots of services' APIs in place of their own: name, equals sign, URL; commas between.",
    )
    google_oauth_client_id: str = env(
        "GOOGLE_OAUTH_CLIENT_ID",
        default="",
        description="OAuth client whose users' Google tokens are refreshed; not refreshed when blank.",
    )
    google_oauth_client_secret: SecretStr = env(
        "GOOGLE_OAUTH_CLIENT_SECRET", default=SecretStr(""), description="Secret of that OAuth client."
    )

    @field_validator("smtp_url")
    @classmethod
    def _is_mail_server(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value().strip()
        if url and not re.fullmatch(r"smtps?://[^/\s?#]+/?", url):
            raise ValueError("must be smtps://user:password@host:port or smtp://…")
        return value

    @field_validator("mail_from")
    @classmethod
    def _is_sender(cls, value: str) -> str:
        if value.strip() and not re.fullmatch(
            r"[^<>\r\n]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+", value.strip()
        ):
            raise ValueError("must be an address or `Name <address>`")
        return value.strip()

    @field_validator("service_roots")
    @classmethod
    def _are_roots(cls, value: str) -> str:
        for entry in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"[a-z0-9_]+=https?://[^\s=,]+", entry):
                raise ValueError(f"{entry!r} is not of the form service=https://…")
        return value

    def root_of(self, service: str, default: str) -> str:
        """The root of a service's API without a slash at its end: the configured one, else its own."""
        entries = (entry.strip().partition("=") for entry in self.service_roots.split(","))
        return {name: root for name, _, root in entries}.get(service, default).rstrip("/")
