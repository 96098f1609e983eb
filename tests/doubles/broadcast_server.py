"""Supabase Realtime's endpoint for broadcasts, as far as a sender sees it."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/realtime/v1/api/broadcast"
LARGEST_BYTES = 256 * 1024


class BroadcastServer:
    """Keeps the messages it takes; `script` are the statuses of its next answers, 202 without one."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.messages: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.script: deque[int] = deque()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> BroadcastServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

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

    def _answer(self, headers: dict[str, str], body: bytes) -> int:
        self.headers.append(headers)
        if self.script:
            return self.script.popleft()
        if headers.get("apikey") != self.key:
            return 401
        messages = json.loads(body)["messages"]
        for message in messages:
            if set(message) != {"topic", "event", "payload", "private"}:
                return 422
            if len(json.dumps(message["payload"]).encode()) > LARGEST_BYTES:
                return 422
        self.messages += messages
        return 202

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # the name is the standard library's
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = server._answer(headers, body) if self.path == PATH else 404
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
