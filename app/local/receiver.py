"""A local webhook receiver: it records every request and behaves, path by path, as it is told.

For the demo, the benchmarks and the tests. Each path is an endpoint of its own.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

#: How often a request that is kept waiting looks whether its client has gone.
_LOOK_SECONDS = 0.05

_DRIP_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """How a scenario answers; `manner` is whole, hang, drip, reset or endless."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    manner: str = "whole"


SCENARIOS: Mapping[str, Answer] = {
    "ok": Answer(204),
    "ok-huge": Answer(200, manner="endless"),
    "400": Answer(400, body=b'{"error":"no such field"}'),
    "404": Answer(404, body=b"not here yet"),
    "410": Answer(410),
    "429": Answer(429, {"Retry-After": "2"}, b"slow down"),
    "500": Answer(500, body=b"Traceback: whsec_c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUta2VwdA== leaked"),
    "503": Answer(503, {"Retry-After": "0"}, b"maintenance"),
    "redirect": Answer(302, {"Location": "/elsewhere"}),
    "hang": Answer(manner="hang"),
    "drip": Answer(200, body=b"x" * 1_000, manner="drip"),
    "reset": Answer(manner="reset"),
}


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names are lower case, `received_at` is Unix time."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: float
    method: str = "POST"

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.headers.get("webhook-id", "")


class Receiver:
    """Endpoints on one port of a loopback address; use it as a context manager.

    `requests` grows by one per request, in order of arrival; `latency_seconds` may be changed at any time.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, latency_seconds: float = 0.0) -> None:
        self.latency_seconds = latency_seconds
        self.requests: list[Received] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.closing = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._always: dict[str, str] = {}
        self._scripts: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._http = _Server((host, port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._gate.set()
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

    def url(self, path: str = "/") -> str:
        """The URL of an endpoint."""
        return f"http://{self.host}:{self.port}{path}"

    def behave(self, path: str, scenario: str) -> None:
        """Let every request to a path meet this scenario from now on."""
        self._always[path] = _known(scenario)

    def script(self, path: str, scenarios: Sequence[str]) -> None:
        """Let the next requests to a path meet these scenarios, one each."""
        with self._changed:
            self._scripts.setdefault(path, []).extend(map(_known, scenarios))

    def hold(self) -> None:
        """Keep all answers back until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the answers go."""
        self._gate.set()

    def wait_for_requests(self, count: int, timeout_seconds: float = 15.0) -> list[Received]:
        """Wait until `count` requests have come in all and return all of them; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} came within {timeout_seconds} s")
            return list(self.requests)

    def begin(self, request: Received) -> Answer:
        """Record a request and say how to answer it."""
        with self._changed:
            self.requests.append(request)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            self._changed.notify_all()
            script = self._scripts.get(request.path)
            return SCENARIOS[script.pop(0) if script else self._always.get(request.path, "ok")]

    def end(self) -> None:
        """Record that a request is over."""
        with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

    def wait_for_gate(self, client: socket.socket) -> None:
        """Return when answers may go, or when this client has hung up."""
        while not self._gate.wait(_LOOK_SECONDS) and not has_hung_up(client):
            pass
        self.closing.wait(self.latency_seconds)


def has_hung_up(client: socket.socket) -> bool:
    """Whether the other side has closed its connection, without taking anything from it."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _known(scenario: str) -> str:
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario is called {scenario}")
    return scenario


class _Server(ThreadingHTTPServer):
    owner: Receiver
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away in the middle are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """The requests are recorded; nothing is printed."""

    def do_GET(self) -> None:
        """Answer a request without a body."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a request with one."""
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the base class's names

    def _answer(self, body: bytes) -> None:
        owner = cast(_Server, self.server).owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = owner.begin(Received(self.path, headers, body, time.time(), self.command))
        with contextlib.ExitStack() as open_request:
            open_request.callback(owner.end)
            owner.wait_for_gate(self.connection)
            if answer.manner == "whole":
                # Once its client has the answer, the next request may be here before this thread goes on.
                open_request.close()
            with contextlib.suppress(OSError):
                self._send(owner, answer)

    def _send(self, owner: Receiver, answer: Answer) -> None:
        if answer.manner == "hang":
            while not owner.closing.wait(_LOOK_SECONDS) and not has_hung_up(self.connection):
                pass
            self.close_connection = True
            return
        if answer.manner == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        length = 10**9 if answer.manner == "endless" else len(answer.body)
        fields = {"Content-Length": str(length), **answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.wfile.write(f"HTTP/1.1 {answer.status} Whatever\r\n{lines}\r\n".encode())
        if answer.manner == "whole":
            self.wfile.write(answer.body)
        elif answer.manner == "drip":
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                if owner.closing.wait(_DRIP_SECONDS):
                    return
        else:
            while not owner.closing.is_set():
                self.wfile.write(b"x" * 65_536)
