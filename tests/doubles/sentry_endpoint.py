"""A Sentry that takes envelopes, and the client of this process that sends to it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import sentry_sdk

from app import alerts
from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer
from app.settings import load_settings


class Endpoint(RespondingServer):
    """Sentry's ingestion, as far as a client sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, object]] = []
        self.raw = ""

    @property
    def dsn(self) -> str:
        return f"http://public@{self.address}/1"

    def respond(self, request: Request) -> Response:
        is_gzip = request.headers.get("content-encoding") == "gzip"
        self._take((zlib.decompress(request.body, 31) if is_gzip else request.body).decode())
        return Response(200, b"{}")

    def _take(self, envelope: str) -> None:
        self.raw += envelope
        for line in envelope.splitlines():
            item = json.loads(line)
            if "level" in item:
                self.events.append(item)


@contextmanager
def sentry_on() -> Iterator[Endpoint]:
    """Alerts go to an endpoint of our own during the block."""
    with Endpoint() as started:
        alerts.configure(load_settings(DATABASE_URL="postgresql://db", SENTRY_DSN=started.dsn))
        yield started
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)
