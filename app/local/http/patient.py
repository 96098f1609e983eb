"""A server that takes its time: slow, held back, and counting what is in flight."""

from __future__ import annotations

import threading

from app.local.http.manners import LOOK_SECONDS, Client
from app.local.http.server import LocalServer


class PatientServer(LocalServer):
    """A local server whose answers can be kept back.

    `latency_seconds` is how long an answer takes and may be changed at any time.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency_seconds: float = 0.0,
        drip_seconds: float = 0.05,
    ) -> None:
        super().__init__(host=host, port=port, drip_seconds=drip_seconds)
        self.latency_seconds = latency_seconds
        self.in_flight = 0
        self.max_in_flight = 0
        self._gate = threading.Event()
        self._gate.set()
        self._changed = threading.Condition()

    def __exit__(self, *exception: object) -> None:
        self._gate.set()
        super().__exit__(*exception)

    def hold(self) -> None:
        """Keep all answers back until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let the answers go."""
        self._gate.set()

    def wait_until_idle(self, timeout: float = 10.0) -> None:
        """Wait until no request is in flight, for `timeout` seconds; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.in_flight == 0, timeout):
                raise TimeoutError(f"{self.in_flight} are still in flight after {timeout} s")

    def _arrived(self) -> None:
        """Record that a request is in flight."""
        with self._changed:
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            self._changed.notify_all()

    def end(self) -> None:
        """Record that a request is over."""
        with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

    def wait_for_gate(self, client: Client) -> None:
        """Return when an answer may go: the gate is open, or the client has hung up, and its time is over."""
        while not self._gate.wait(LOOK_SECONDS) and not client.has_hung_up():
            pass
        self.closing.wait(self.latency_seconds)
