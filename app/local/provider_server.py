"""A local stand-in for every AI provider, on one port, speaking each one's real wire format.

The demo, the benchmarks and the tests run against it: it answers `<model> says: <prompt>` with usage, or
fails in any way that `provider_scenarios` knows. It records every call and can keep answers back.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from app.local.media_desk import MediaDesk
from app.local.media_wire import read_body
from app.local.provider_accounts import visit_account
from app.local.provider_manners import LOOK_SECONDS, MannersHandler, has_hung_up
from app.local.provider_scenarios import SCENARIOS, Response, respond, scenario_of
from app.local.provider_tools import TOOLS
from app.local.provider_wire import WIRES, Json, Question, Wire, key_of


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
        #: Keys that no provider accepts when somebody looks at an account.
        self.refused_keys: set[str] = set()
        self._scripts: dict[str, list[str]] = {}
        self._lines: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self.media = MediaDesk(self.url)
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
            "FAL_QUEUE_BASE_URL": f"{self.url}/fal",
            "STABILITY_BASE_URL": f"{self.url}/stability",
            "ELEVENLABS_BASE_URL": f"{self.url}/elevenlabs",
            "KLING_BASE_URL": f"{self.url}/kling",
            "SUNO_BASE_URL": f"{self.url}/suno",
            "CHAINABIT_API_URL": f"{self.url}/chainabit",
            "WORKER_OUTBOUND_ALLOWED_HOSTS": self.url.removeprefix("http://"),
        }

    def script(self, model: str, scenarios: Sequence[str]) -> None:
        """Let the next calls of a model (by its wire name) end in these scenarios, one each; `ok` answers."""
        unknown = set(scenarios) - SCENARIOS - {"ok"}
        if unknown:
            raise ValueError(f"no scenario is called {', '.join(sorted(unknown))}")
        with self._changed:
            self._scripts.setdefault(model, []).extend(scenarios)

    def say(self, model: str, *texts: str) -> None:
        """Let the next answers of a model (by its wire name) be these, one each, instead of the prompt."""
        with self._changed:
            self._lines.setdefault(model, []).extend(texts)

    def next_line(self, model: str) -> str | None:
        """What a model was told to say next, if anything."""
        with self._changed:
            lines = self._lines.get(model)
            return lines.pop(0) if lines else None

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
        while not self._gate.wait(LOOK_SECONDS) and not has_hung_up(client):
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


class _Handler(MannersHandler, BaseHTTPRequestHandler):
    @property
    def closing(self) -> threading.Event:
        return cast(_Server, self.server).owner.closing

    @property
    def drip_seconds(self) -> float:
        return cast(_Server, self.server).owner.drip_seconds

    def do_GET(self) -> None:
        """Answer a poll or a look at an account, or give out a file."""
        if not self._visit_account() and not self._visit_media_desk(b""):
            self.send(Response(404, b"{}"))

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._visit_account() or self._visit_media_desk(body):
            return
        path = self.path.partition("?")[0]
        found = next(((wire, hit) for wire in (*WIRES, *TOOLS) if (hit := wire.path.fullmatch(path))), None)
        try:
            if found is None:
                raise LookupError(f"no provider has the path {path}")
            wire, hit = found
            content = read_body(self.headers.get("Content-Type") or "", body)
            question = wire.read(content, hit.groupdict().get("model", ""))
            scenario = scenario_of(question.model)
        except (ValueError, LookupError, TypeError) as error:
            self.send(Response(404 if found is None else 400, json.dumps({"error": str(error)}).encode()))
            return
        self._answer(wire, question, content, scenario)

    def _visit_account(self) -> bool:
        """Whether the request only looked at an account, and has been answered then."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        refused = cast(_Server, self.server).owner.refused_keys
        answer = visit_account(f"{self.command} {self.path}", key_of(headers), refused)
        if answer is not None:
            self.send(answer)
        return answer is not None

    def _visit_media_desk(self, body: bytes) -> bool:
        """Whether the request was about media, and has been answered then."""
        owner = cast(_Server, self.server).owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        visit = owner.media.visit(self.command, self.path, headers, body)
        if visit is None:
            return False
        call = Call(
            provider=visit.provider,
            model=visit.model,
            key=visit.key,
            prompt=visit.prompt,
            system=None,
            received_at=time.monotonic(),
            body=visit.body,
            headers=headers,
        )
        if not visit.is_submission:
            self.send(visit.respond(None))
            return True
        scenario = owner.begin(call, scenario_of(visit.model))
        try:
            answer = visit.respond(scenario)
            owner.wait_for_gate(self.connection)
            owner.closing.wait(owner.latency_seconds)
            self.send(answer)
        finally:
            owner.end()
        return True

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
            said = None if scenario else owner.next_line(question.model)
            self.send(respond(scenario, wire, question, key, said))
        finally:
            owner.end()
