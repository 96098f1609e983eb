"""A stand-in for Slack, Discord, Telegram and Resend: their wire formats, their limits, their refusals.

For the demo and the tests. Any path can be told to misbehave first, as with every `Receiver`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.local.http.manners import Response
from app.local.http.server import json_response
from app.local.receiver import SCENARIOS, Received, Receiver

SLACK_TOKEN = "xoxb-local-4242-planted"  # noqa: S105 - of no account
TELEGRAM_TOKEN = "4242:local-planted-token"  # noqa: S105 - of no bot
RESEND_KEY = "re_local_planted_key"
WEBHOOK_SECRET = "T0/B0/local-planted-secret"  # noqa: S105 - of no webhook


class Messengers(Receiver):
    """The services on one port. `messages` are the texts that arrived, by service, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, list[str]] = {"slack": [], "discord": [], "telegram": [], "resend": []}
        self._pages: dict[str, Response] = {}
        self._mails: dict[str, tuple[str, bytes]] = {}

    @property
    def slack_webhook(self) -> str:
        """The URL of Slack's incoming webhook."""
        return self.url(f"/slack/services/{WEBHOOK_SECRET}")

    @property
    def discord_webhook(self) -> str:
        """The URL of Discord's webhook."""
        return self.url("/discord/api/webhooks/42/local-planted-secret")

    def environment(self) -> dict[str, str]:
        """What a worker needs to find them."""
        return {
            "SLACK_API_BASE_URL": self.url("/slack/api"),
            "TELEGRAM_API_BASE_URL": self.url("/telegram"),
            "RESEND_BASE_URL": self.url("/resend"),
            "RESEND_API_KEY": RESEND_KEY,
        }

    def serve(
        self, path: str, content: object, *, status: int = 200, mime_type: str = "application/json"
    ) -> str:
        """Give this at a path from now on, bytes as they are and all else as JSON; returns its URL."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._pages[path] = Response(status, body, mime_type)
        return self.url(path)

    def begin(self, request: Received) -> Response:
        """Record a request and answer it as the service would, unless its path misbehaves."""
        told = super().begin(request)
        if told is not SCENARIOS["ok"]:
            return told
        if request.path in self._pages:
            return self._pages[request.path]
        answer = next((each for prefix, each in _SERVICES.items() if request.path.startswith(prefix)), None)
        return answer(self, request) if answer else json_response(404, {"error": "no such service"})

    def take_mail(self, request: Received) -> Response:
        """Resend's POST /emails."""
        if request.headers.get("authorization") != f"Bearer {RESEND_KEY}":
            return _trouble(401, "invalid_api_key", "API key is invalid")
        mail, key = _content(request), request.headers.get("idempotency-key", "")
        if not (
            mail.get("from")
            and mail.get("to")
            and mail.get("subject")
            and (mail.get("text") or mail.get("html"))
        ):
            return _trouble(422, "missing_required_field", "A required field is missing")
        if key in self._mails:
            known_id, body = self._mails[key]
            if body != request.body:
                return _trouble(409, "invalid_idempotent_request", "Same key, other content")
            return json_response(200, {"id": known_id})
        mail_id = f"mail-{len(self._mails) + 1}"
        if key:
            self._mails[key] = (mail_id, request.body)
        self.messages["resend"].append(str(mail.get("text") or mail.get("html")))
        return json_response(200, {"id": mail_id})

    def take_slack_webhook(self, request: Received) -> Response:
        """Slack's incoming webhook, which answers in plain text."""
        text = _content(request).get("text")
        if not request.path.endswith(WEBHOOK_SECRET):
            return Response(404, b"no_service", "text/html")
        if not isinstance(text, str) or not text:
            return Response(400, b"no_text", "text/html")
        self.messages["slack"].append(text)
        return Response(200, b"ok", "text/html")

    def take_slack_call(self, request: Received) -> Response:
        """Slack's chat.postMessage, which answers 200 whatever it makes of the call."""
        content = _content(request)
        if request.headers.get("authorization") != f"Bearer {SLACK_TOKEN}":
            return json_response(200, {"ok": False, "error": "invalid_auth"})
        if content.get("channel") == "#nowhere":
            return json_response(200, {"ok": False, "error": "channel_not_found"})
        self.messages["slack"].append(str(content.get("text")))
        return json_response(200, {"ok": True, "channel": "C42", "ts": "1700000000.000100", "message": {}})

    def take_discord(self, request: Received) -> Response:
        """Discord's webhook, which answers with the message only if it is asked to wait."""
        content = str(_content(request).get("content") or "")
        if not 0 < len(content) <= 2_000:
            return json_response(400, {"content": ["Must be 2000 or fewer in length."]})
        self.messages["discord"].append(content)
        waits = parse_qs(urlsplit(request.path).query).get("wait") == ["true"]
        return json_response(200, {"id": "424242", "content": content}) if waits else Response(204)

    def take_telegram(self, request: Received) -> Response:
        """Telegram's sendMessage."""
        if f"/bot{TELEGRAM_TOKEN}/" not in request.path:
            return json_response(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        content = _content(request)
        text = str(content.get("text") or "")
        if content.get("chat_id") == "busy":
            limit = {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 7"}
            return json_response(429, {**limit, "parameters": {"retry_after": 7}})
        if not 0 < len(text) <= 4_096:
            return json_response(
                400, {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
            )
        self.messages["telegram"].append(text)
        return json_response(200, {"ok": True, "result": {"message_id": 7, "text": text}})


_SERVICES: Mapping[str, Callable[[Messengers, Received], Response]] = {
    "/slack/services/": Messengers.take_slack_webhook,
    "/slack/api/chat.postMessage": Messengers.take_slack_call,
    "/discord/api/webhooks/": Messengers.take_discord,
    "/telegram/": Messengers.take_telegram,
    "/resend/emails": Messengers.take_mail,
}


def _content(request: Received) -> dict[str, Any]:
    try:
        content = json.loads(request.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _trouble(status: int, name: str, message: str) -> Response:
    return json_response(status, {"statusCode": status, "name": name, "message": message})
