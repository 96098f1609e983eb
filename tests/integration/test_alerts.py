"""What Sentry gets to see, on a local endpoint that takes its envelopes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

import pytest
import sentry_sdk

from app import alerts
from app.errors import GiveUp
from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer
from app.redaction import remember_secret
from app.settings import load_settings

PLANTED = "sk-planted-in-an-event-0123456789"


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


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as started:
        alerts.configure(load_settings(DATABASE_URL="postgresql://db", SENTRY_DSN=started.dsn))
        yield started
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)


def test_a_job_that_failed_for_good_is_one_event_with_its_tags(endpoint: Endpoint) -> None:
    alerts.job_failed("lens_run", "42", 3, GiveUp("provider.auth_failed", "the key is wrong"))
    sentry_sdk.flush()
    (event,) = endpoint.events
    assert event["tags"] == {"kind": "lens_run", "error_code": "provider.auth_failed"}
    assert event["fingerprint"] == ["lens_run", "provider.auth_failed"]
    assert "the key is wrong" in str(event["message"])


def test_no_key_and_no_local_variable_reaches_an_event(endpoint: Endpoint) -> None:
    remember_secret("plain-looking-secret-42")
    prompt = "a prompt of nobody"[:-6] + "somebody"  # its source lines are in the event, its value isn't
    try:
        raise RuntimeError(f"call with {PLANTED} and plain-looking-secret-42 failed for {len(prompt)}")
    except RuntimeError as error:
        alerts.unexpected(error)
    sentry_sdk.flush()
    assert len(endpoint.events) == 1
    for secret in (PLANTED, "plain-looking-secret-42", prompt):
        assert secret not in endpoint.raw


def test_nothing_is_sent_without_a_dsn() -> None:
    alerts.configure(load_settings(DATABASE_URL="postgresql://db"))
    assert not sentry_sdk.get_client().is_active()
