"""A local stand-in for every AI provider, on one port, speaking each one's real wire format.

The demo, the benchmarks and the tests run against it: it answers `<model> says: <prompt>` with usage, or
fails in any way that `provider_scenarios` knows. It records every call and can keep answers back.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from app.local.provider_scenarios import SCENARIOS, Response, respond, scenario_of
from app.local.provider_wire import WIRES, Json, Question, Wire, key_of

#: How often a kept-back call looks whether its client has gone.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Call:
    """One request as the server saw it; `received_at` is on the monotonic clock."""

    provider: str
    model: str
    key: str = field(repr=False)
    prompt: str
    system: str | None
    received_at: float
    body: Json
    headers: dict[str, str] = field(repr=False)


class ProviderServer:
    """All providers on one port of 127.0.0.1; use it as a context manager.

    `latency_seconds` is how long an answer takes and may be changed at any time. `calls` grows by one per
    request, in order of arrival.
    """

    def __init__(self, *, latency_seconds: float = 0.0, port: int = 0, drip_seconds: float = 0.05) -> None:
        self.latency_seconds = latency_seconds
        self.drip_seconds = drip_seconds
        self.calls: list[Call] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.closing = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._scripts: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._http = _Server(("127.0.0.1", port), _Handler)
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
    def url(self) -> str:
        """The server's root URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """The environment variables that send a worker's calls here."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/openai/v1",
            "MISTRAL_BASE_URL": f"{self.url}/mistral/v1",
            "DEEPSEEK_BASE_URL": f"{self.url}/deepseek",
            "ANTHROPIC_BASE_URL": f"{self.url}/anthropic",
            "GOOGLE_GEMINI_BASE_URL": f"{self.url}/google",
            "GOOGLE_VERTEX_BASE_URL": f"{self.url}/vertex",
            "LENSERFIGHT_OLLAMA_BASE_URL": f"{self.url}/ollama",
        }

    def script(self, model: str, scenarios: Sequence[str]) -> None:
        """Let the next calls of a model (by its wire name) end in these scenarios, one each; `ok` answers."""
        unknown = set(scenarios) - SCENARIOS - {"ok"}
        if unknown:
            raise ValueError(f"no scenario is called {', '.join(sorted(unknown))}")
        with self._changed:
            self._scripts.setdefault(model, []).extend(scenarios)

    def hold(self) -> None:
        """Keep all answers back until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the answers go."""
        self._gate.set()

    def wait_for_calls(self, count: int, timeout: float = 10.0) -> list[Call]:
        """Wait until `count` calls have come in all and return all of them; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= count, timeout):
                raise TimeoutError(f"{len(self.calls)} of {count} calls came within {timeout} s")
            return list(self.calls)

    def wait_until_idle(self, timeout: float = 10.0) -> None:
        """Wait until no call is in flight; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.in_flight == 0, timeout):
                raise TimeoutError(f"{self.in_flight} calls are still in flight after {timeout} s")

    def begin(self, call: Call, scenario: str | None) -> str | None:
        """Record a call and say which scenario it meets: the script's next one, else the model's own."""
        with self._changed:
            self.calls.append(call)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            self._changed.notify_all()
            script = self._scripts.get(call.model)
            scripted = script.pop(0) if script else None
        if scripted:
            return None if scripted == "ok" else scripted
        return scenario

    def end(self) -> None:
        """Record that a call is over."""
        with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

    def wait_for_gate(self, client: socket.socket) -> None:
        """Return when answers may go, or when this client has hung up."""
        while not self._gate.wait(_LOOK_SECONDS) and not _has_hung_up(client):
            pass


class _Server(ThreadingHTTPServer):
    owner: ProviderServer
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

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """The calls are recorded; nothing is printed."""

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        found = next(((wire, hit) for wire in WIRES if (hit := wire.path.fullmatch(path))), None)
        try:
            if found is None:
                raise LookupError(f"no provider has the path {path}")
            wire, hit = found
            content = json.loads(body)
            question = wire.read(content, hit.groupdict().get("model", ""))
            scenario = scenario_of(question.model)
        except (ValueError, LookupError, TypeError) as error:
            self._send(Response(404 if found is None else 400, json.dumps({"error": str(error)}).encode()))
            return
        self._answer(wire, question, content, scenario)

    def _answer(self, wire: Wire, question: Question, body: Json, scenario: str | None) -> None:
        owner = cast(_Server, self.server).owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        key = key_of(headers)
        call = Call(
            provider=wire.provider,
            model=question.model,
            key=key,
            prompt=question.prompt,
            system=question.system,
            received_at=time.monotonic(),
            body=body,
            headers=headers,
        )
        scenario = owner.begin(call, scenario)
        try:
            if wire.needs_key and not key:
                scenario = "bad-key"
            owner.wait_for_gate(self.connection)
            owner.closing.wait(owner.latency_seconds)
            self._send(respond(scenario, wire, question, key))
        finally:
            owner.end()

    def _send(self, response: Response) -> None:
        head = f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('Overloaded',))[0]}\r\n"
        fields = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "x-request-id": "req_local",
            "request-id": "req_local",
            **response.headers,
        }
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        if response.manner == "whole":
            self.wfile.write(head.encode() + response.body)
            return
        self.close_connection = True
        with contextlib.suppress(OSError):
            self._misbehave(response, head.encode())

    def _misbehave(self, response: Response, head: bytes) -> None:
        owner = cast(_Server, self.server).owner
        if response.manner == "hang":
            while not owner.closing.wait(_LOOK_SECONDS) and not _has_hung_up(self.connection):
                pass
        elif response.manner == "reset":
            linger_not = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
            self.connection.close()
        elif response.manner == "cut":
            self.wfile.write(head + response.body[: len(response.body) // 2])
        else:
            self.wfile.write(head)
            for byte in response.body:
                self.wfile.write(bytes([byte]))
                if owner.closing.wait(owner.drip_seconds):
                    return


def _has_hung_up(client: socket.socket) -> bool:
    """Whether the other side has closed its connection, without taking anything from it."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
