"""What Sentry gets to see, on a local endpoint that takes its envelopes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sentry_sdk

from app import alerts
from app.errors import GiveUp
from app.redaction import remember_secret
from app.settings import load_settings
from tests.doubles.sentry_endpoint import Endpoint, sentry_on

PLANTED = "sk-planted-in-an-event-0123456789"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with sentry_on() as started:
        yield started


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
