"""All stand-ins on one port of 127.0.0.1, each below a path of its own."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from app.local.services.github import GitHub
from app.local.services.google import Calendar, Sheets
from app.local.services.google_oauth import CLIENT_ID, CLIENT_SECRET, GoogleOAuth
from app.local.services.notion import Notion
from app.local.services.trackers import Asana, Jira, Linear, Monday, Zapier
from app.local.services.wire import Answered, Asked, Service

#: Answers a request and then breaks the connection off: the caller can't know that it was heard.
LOST = "lost"

#: What a token that isn't honoured gets.
_UNAUTHORIZED = Answered(401, {"message": "Bad credentials"})
#: Services that want no token in a header.
_KEYLESS = ("google_oauth", "zapier")


class ServiceServer:
    """The services; use it as a context manager.

    `asked` grows by one per request. `tokens` are the credentials that are honoured.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.tokens: set[str] = set()
        self.google_oauth = GoogleOAuth()
        self.github, self.notion, self.zapier = GitHub(), Notion(), Zapier()
        self.sheets, self.calendar = Sheets(), Calendar()
        self.linear, self.jira, self.asana, self.monday = Linear(), Jira(), Asana(), Monday()
        services: Sequence[Service] = (
            *(self.google_oauth, self.github, self.notion, self.zapier, self.sheets, self.calendar),
            *(self.linear, self.jira, self.asana, self.monday),
        )
        self._services = {service.name: service for service in services}
        self._scripts: dict[str, list[Answered | str]] = {}
        self._guard = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._http.server_address[1]}"

    def root(self, service: str) -> str:
        """The root of a service's API."""
        return f"http://{self.address}/{service}"

    def environment(self) -> dict[str, str]:
        """The environment variables that send a worker's requests here."""
        return {
            "WORKER_SERVICE_ROOTS": ",".join(f"{name}={self.root(name)}" for name in self._services),
            "WORKER_OUTBOUND_ALLOWED_HOSTS": self.address,
            "GOOGLE_OAUTH_CLIENT_ID": CLIENT_ID,
            "GOOGLE_OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        }

    def script(self, service: str, answers: Sequence[Answered | str]) -> None:
        """Let the next requests to a service meet these answers, one each; `LOST` does what is asked."""
        with self._guard:
            self._scripts.setdefault(service, []).extend(answers)

    def asked_of(self, service: str, method: str | None = None) -> list[Asked]:
        """What a service was asked, in order."""
        with self._guard:
            return [a for a in self.asked if a.service == service and method in (None, a.method)]

    def answer(self, asked: Asked) -> Answered | None:
        """The answer to a request; None where it shall get lost."""
        with self._guard:
            self.asked.append(asked)
            script = self._scripts.get(asked.service)
            scripted = script.pop(0) if script else None
            if isinstance(scripted, Answered):
                return scripted
            service = self._services.get(asked.service)
            if service is None:
                return Answered(404, {"message": "no such service"})
            answered = service.answer(asked) if self._may(asked) else _UNAUTHORIZED
            return None if scripted == LOST else answered

    def _may(self, asked: Asked) -> bool:
        """Whether a request has a token that is honoured, to those that want one in a header."""
        if asked.service in _KEYLESS:
            return True
        return asked.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens


class _Server(ThreadingHTTPServer):
    owner: ServiceServer
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """The requests are recorded; nothing is printed."""

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        service, _, rest = self.path.removeprefix("/").partition("/")
        asked = Asked(service, self.command, f"/{rest}", headers, body)
        answered = cast(_Server, self.server).owner.answer(asked)
        if answered is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        content = b"" if answered.body is None else json.dumps(answered.body).encode()
        self.send_response(answered.status)
        for name, value in {"Content-Type": "application/json", **answered.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _take  # noqa: N815 - the base class's names
