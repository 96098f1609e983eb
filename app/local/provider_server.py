"""A local stand-in for every AI provider, on one port, speaking each one's real wire format.

The demo, the benchmarks and the tests run against it: it answers `<model> says: <prompt>` with usage, or
fails in any way that `provider_scenarios` knows. It records every call and can keep answers back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.local.http.manners import Client, Response
from app.local.http.patient import PatientServer
from app.local.http.scripts import Scripts
from app.local.http.server import Request, json_response
from app.local.media_desk import MediaDesk, Visit
from app.local.media_wire import read_body
from app.local.provider_accounts import visit_account
from app.local.provider_scenarios import SCENARIOS, respond, scenario_of
from app.local.provider_tools import TOOLS
from app.local.provider_usage import Used
from app.local.provider_wire import WIRES, Json, Wire, key_of


@dataclass(frozen=True)
class Call:
    """One request as the server saw it; `received_at` is on the monotonic clock."""

    provider: str
    model: str
    key: str = field(repr=False)
    prompt: str
    system: str | None
    body: Json
    headers: Mapping[str, str] = field(repr=False)
    received_at: float = field(default_factory=time.monotonic)


class ProviderServer(PatientServer):
    """All providers on one port of 127.0.0.1; use it as a context manager.

    `calls` grows by one per request, in order of arrival.
    """

    def __init__(self, *, latency_seconds: float = 0.0, port: int = 0, drip_seconds: float = 0.05) -> None:
        super().__init__(port=port, latency_seconds=latency_seconds, drip_seconds=drip_seconds)
        self.calls: list[Call] = []
        #: Keys that no provider accepts when somebody looks at an account.
        self.refused_keys: set[str] = set()
        self._scripts: Scripts[str] = Scripts()
        self._lines: Scripts[str] = Scripts()
        self._usages: Scripts[Used] = Scripts()
        self.media = MediaDesk(self.url)

    @property
    def url(self) -> str:
        """The server's root URL."""
        return self.origin

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
            "WORKER_OUTBOUND_ALLOWED_HOSTS": self.address,
        }

    def script(self, model: str, scenarios: Sequence[str]) -> None:
        """Let the next calls of a model (by its wire name) end in these scenarios, one each; `ok` answers."""
        unknown = set(scenarios) - SCENARIOS - {"ok"}
        if unknown:
            raise ValueError(f"no scenario is called {', '.join(sorted(unknown))}")
        self._scripts.add(model, scenarios)

    def say(self, model: str, *texts: str) -> None:
        """Let the next answers of a model (by its wire name) be these, one each, instead of the prompt."""
        self._lines.add(model, texts)

    def meter(self, model: str, *usages: Used) -> None:
        """Let the next answers of a model (by its wire name) say to have taken this, one each."""
        self._usages.add(model, usages)

    def wait_for_calls(self, count: int, timeout: float = 60.0) -> list[Call]:
        """Wait until `count` calls have come in all and return all of them; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= count, timeout):
                raise TimeoutError(f"{len(self.calls)} of {count} calls came within {timeout} s")
            return list(self.calls)

    def begin(self, call: Call, scenario: str | None) -> str | None:
        """Record a call and say which scenario it meets: the script's next one, else the model's own."""
        with self._changed:
            self.calls.append(call)
            self._arrived()
            scripted = self._scripts.next(call.model)
        if scripted:
            return None if scripted == "ok" else scripted
        return scenario

    def next_line(self, model: str) -> str | None:
        """What a model was told to say next, if anything."""
        return self._lines.next(model)

    def next_usage(self, model: str) -> Used | None:
        """What a model's next answer says to have taken, where that is not simply the words."""
        return self._usages.next(model)

    def attend(self, request: Request, client: Client) -> None:
        """Answer a look at an account, a request about media, or a question to a model."""
        account = visit_account(
            f"{request.method} {request.path}", key_of(request.headers), self.refused_keys
        )
        if account is not None:
            _send(client, account)
            return
        visit = self.media.visit(request.method, request.path, request.headers, request.body)
        if visit is not None:
            self._attend_visit(visit, request, client)
            return
        self._attend_question(request, client)

    def _attend_visit(self, visit: Visit, request: Request, client: Client) -> None:
        if not visit.is_submission:
            _send(client, visit.respond(None))
            return
        call = Call(
            provider=visit.provider,
            model=visit.model,
            key=visit.key,
            prompt=visit.prompt,
            system=None,
            body=visit.body,
            headers=request.headers,
        )
        scenario = self.begin(call, scenario_of(visit.model))
        try:
            response = visit.respond(scenario)
            self.wait_for_gate(client)
            _send(client, response)
        finally:
            self.end()

    def _attend_question(self, request: Request, client: Client) -> None:
        found = _find_wire(request)
        if found is None:
            _send(client, json_response(404, {"error": f"no provider has the path {request.path}"}))
            return
        wire, model = found
        try:
            body = read_body(request.headers.get("content-type", ""), request.body)
            question = wire.read(body, model)
            scenario = scenario_of(question.model)
        except (ValueError, LookupError, TypeError) as error:
            _send(client, json_response(400, {"error": str(error)}))
            return
        key = key_of(request.headers)
        call = Call(
            provider=wire.provider,
            model=question.model,
            key=key,
            prompt=question.prompt,
            system=question.system,
            body=body,
            headers=request.headers,
        )
        scenario = self.begin(call, scenario)
        try:
            if wire.needs_key and not key:
                scenario = "bad-key"
            self.wait_for_gate(client)
            said = None if scenario else self.next_line(question.model)
            question = replace(question, used=self.next_usage(question.model))
            _send(client, respond(scenario, wire, question, key, said))
        finally:
            self.end()


def _find_wire(request: Request) -> tuple[Wire, str] | None:
    """The wire format that a call is in, and the model if the path names it."""
    path = request.path.partition("?")[0]
    hits = ((wire, wire.path.fullmatch(path)) for wire in (*WIRES, *TOOLS) if request.method == "POST")
    return next(((wire, hit.groupdict().get("model") or "") for wire, hit in hits if hit), None)


def _send(client: Client, response: Response) -> None:
    """Send a response with what every provider calls its request."""
    request_ids = {"x-request-id": "req_local", "request-id": "req_local"}
    client.send(replace(response, headers={**request_ids, **response.headers}))
