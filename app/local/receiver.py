"""A local webhook receiver: it records every request and behaves, path by path, as it is told.

For the demo, the benchmarks and the tests. Each path is an endpoint of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from app.local.http.manners import Client, Response
from app.local.http.patient import PatientServer
from app.local.http.scripts import Scripts
from app.local.http.server import Request

#: How an endpoint may behave.
SCENARIOS: Mapping[str, Response] = {
    "ok": Response(204),
    "ok-huge": Response(200, manner="endless"),
    "400": Response(400, b'{"error":"no such field"}'),
    "404": Response(404, b"not here yet", "text/plain"),
    "410": Response(410),
    "429": Response(429, b"slow down", "text/plain", {"Retry-After": "2"}),
    "500": Response(500, b"Traceback: whsec_c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUta2VwdA== leaked", "text/plain"),
    "503": Response(503, b"maintenance", "text/plain", {"Retry-After": "0"}),
    "redirect": Response(302, headers={"Location": "/elsewhere"}),
    "hang": Response(200, manner="hang"),
    "drip": Response(200, b"x" * 1_000, "text/plain", manner="drip"),
    "reset": Response(200, manner="reset"),
}


@dataclass(frozen=True)
class Received(Request):
    """One request as an endpoint got it."""

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.headers.get("webhook-id", "")


class Receiver(PatientServer):
    """Endpoints on one port of a loopback address; use it as a context manager.

    `requests` grows by one per request, in order of arrival.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, latency_seconds: float = 0.0) -> None:
        super().__init__(host=host, port=port, latency_seconds=latency_seconds)
        self.requests: list[Received] = []
        self._always: dict[str, str] = {}
        self._scripts: Scripts[str] = Scripts()

    def url(self, path: str = "/") -> str:
        """The URL of an endpoint."""
        return f"{self.origin}{path}"

    def behave(self, path: str, scenario: str) -> None:
        """Let every request to a path meet this scenario from now on."""
        self._always[path] = _known(scenario)

    def script(self, path: str, scenarios: Sequence[str]) -> None:
        """Let the next requests to a path meet these scenarios, one each."""
        self._scripts.add(path, map(_known, scenarios))

    def wait_for_requests(self, count: int, timeout_seconds: float = 15.0) -> list[Received]:
        """Wait until `count` requests have come in all and return all of them; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} came within {timeout_seconds} s")
            return list(self.requests)

    def attend(self, request: Request, client: Client) -> None:
        """Record a request and answer it as its path behaves."""
        response = self.begin(Received(**vars(request)))
        with ExitStack() as open_request:
            open_request.callback(self.end)
            self.wait_for_gate(client)
            if response.manner == "whole":
                # Once its client has the answer, the next request may be here before this thread goes on.
                open_request.close()
            client.send(response)

    def begin(self, request: Received) -> Response:
        """Record a request and say how to answer it."""
        with self._changed:
            self.requests.append(request)
            self._arrived()
            return SCENARIOS[self._scripts.next(request.path) or self._always.get(request.path, "ok")]


def _known(scenario: str) -> str:
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario is called {scenario}")
    return scenario
