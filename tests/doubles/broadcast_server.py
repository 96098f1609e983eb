"""Supabase Realtime's endpoint for broadcasts, as far as a sender sees it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer

PATH = "/realtime/v1/api/broadcast"
LARGEST_BYTES = 256 * 1024


class BroadcastServer(RespondingServer):
    """Keeps the messages it takes; `script` are the statuses of its next answers, 202 without one."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.messages: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.script: deque[int] = deque()

    @property
    def url(self) -> str:
        return self.origin

    def respond(self, request: Request) -> Response:
        return Response(self._answer(request.headers, request.body) if request.path == PATH else 404)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The envelopes of all events that came, coalesced or not."""
        return [
            envelope
            for message in self.messages
            for envelope in (
                message["payload"]["events"] if message["event"] == "run.events" else [message["payload"]]
            )
        ]

    def _answer(self, headers: Mapping[str, str], body: bytes) -> int:
        self.headers.append(headers)
        if self.script:
            return self.script.popleft()
        if headers.get("apikey") != self.key:
            return 401
        messages = json.loads(body)["messages"]
        for message in messages:
            if set(message) != {"topic", "event", "payload", "private"}:
                return 422
            if len(json.dumps(message["payload"], ensure_ascii=False).encode()) > LARGEST_BYTES:
                return 422
        self.messages += messages
        return 202
