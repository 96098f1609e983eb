"""The mail server, the chats and the Storage to which the demo's workflow writes, and what arrived there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

from app.local.services.mail_server import MailServer
from app.local.services.messengers import Messengers
from app.local.storage_server import StorageServer
from app.local.workflows import EdgeSeed, NodeSeed

#: What the workflow sends; the greeting is a model's.
SUBJECT = "News for {{name}}"
FILE = "greetings/latest.txt"
MESSAGE = "{{name}} was greeted: {{greeting}}"

#: A model that nobody else in the demo asks, and what it writes to somebody.
MODEL, GREETING = "gpt-4o-mini", "Good morning, {}!"

PLACES = ("mail", "slack", "discord")


class Post:
    """A mail server, Slack and Discord of the demo's own, beside its Storage; use it as a context manager."""

    def __init__(self, storage: StorageServer) -> None:
        self._storage = storage
        self._mails, self._chats = MailServer(), Messengers()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._mails)
        self._open.enter_context(self._chats)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def environment(self) -> dict[str, str]:
        """What the worker needs to send mails."""
        return {
            "WORKER_SMTP_URL": self._mails.url,
            "WORKER_MAIL_FROM": "LenserFight <no-reply@lenserfight.example>",
        }

    @property
    def nodes(self) -> dict[str, NodeSeed]:
        """A workflow that has a model greet somebody, and tells of it."""
        text = {"messageTemplate": MESSAGE}
        mail = {"to": "ada@example.org", "subject": SUBJECT, "bodyTemplate": MESSAGE, "provider": "smtp"}
        return {
            "start": NodeSeed({"nodeType": "schedule_trigger", "cronExpression": "* * * * *"}),
            "write": NodeSeed({"modelId": MODEL}, lens="greeting"),
            "mail": NodeSeed({"nodeType": "email_send", **mail}),
            "slack": NodeSeed({"nodeType": "slack_notify", "webhookUrl": self._chats.slack_webhook, **text}),
            "discord": NodeSeed(
                {"nodeType": "discord_notify", "webhookUrl": self._chats.discord_webhook, **text}
            ),
            "file": NodeSeed({"nodeType": "file_writer", "objectKey": FILE}),
        }

    @property
    def edges(self) -> tuple[EdgeSeed, ...]:
        """How that workflow's nodes hang together."""
        told = (EdgeSeed("write", each, "greeting") for each in (*PLACES, "file"))
        return (EdgeSeed("start", "write", "context"), *told)

    def arrived(self) -> Iterator[tuple[str, str]]:
        """All that has arrived: by what, and its text on one line."""
        for mail in list(self._mails.mails):
            yield "mail", f"{mail['Subject']}: {_one_line(mail.get_content())}"
        for service in ("slack", "discord"):
            yield from ((service, _one_line(text)) for text in list(self._chats.messages[service]))
        for path, stored in list(self._storage.objects.items()):
            if path.endswith(FILE):
                yield "file", f"{FILE}: {_one_line(stored.content.decode())}"

    def surprises(self, name: str) -> Iterator[str]:
        """What differs from one message each, with name and greeting in it, and a file with the greeting."""
        greeting = GREETING.format(name)
        found = list(self.arrived())
        files = [text for where, text in found if where == "file"]
        if files != [f"{FILE}: {greeting}"]:
            yield f"{files} were stored instead of one greeting"
        for place in PLACES:
            texts = [text for where, text in found if where == place]
            if len(texts) != 1:
                yield f"{len(texts)} messages arrived by {place} instead of one"
            expected = f"{name} was greeted: {greeting}"
            yield from (f"{place} got {text!r}" for text in texts if not text.endswith(expected))


def _one_line(text: str) -> str:
    return " ".join(text.split())
