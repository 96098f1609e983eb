"""An HTTP server on a loopback address with a thread for each connection."""

from __future__ import annotations

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from app.local.http.manners import Client, Response


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names are lower case, `received_at` is Unix time."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float = field(default_factory=time.time)


class LocalServer(ABC):
    """A server on one port of a loopback address; use it as a context manager.

    `drip_seconds` is the time between two bytes of an answer that drips. `closing` is set when it ends.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, drip_seconds: float = 0.05) -> None:
        self.drip_seconds = drip_seconds
        self.closing = threading.Event()
        self._http = _Server((host, port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return str(self._http.server_address[0])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The root of all its URLs, without a slash at the end."""
        return f"http://{self.address}"

    @abstractmethod
    def attend(self, request: Request, client: Client) -> None:
        """Deal with one request, in a thread of its connection's own."""


class RespondingServer(LocalServer):
    """A server that responds at once, with nothing to happen around it."""

    def attend(self, request: Request, client: Client) -> None:
        """Send the response."""
        client.send(self.respond(request))

    @abstractmethod
    def respond(self, request: Request) -> Response:
        """The response to a request."""


def json_response(status: int, content: Any) -> Response:
    """A response of JSON."""
    return Response(status, json.dumps(content).encode())


class _Server(ThreadingHTTPServer):
    owner: LocalServer
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that go away in the middle: tests kill them on purpose."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """The requests are recorded; nothing is printed."""

    def _take(self) -> None:
        owner = cast(_Server, self.server).owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        client = Client(self.connection, owner.closing, owner.drip_seconds)
        owner.attend(Request(self.command, self.path, headers, body), client)
        if not client.may_go_on:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _take  # noqa: N815 - the base class's names
