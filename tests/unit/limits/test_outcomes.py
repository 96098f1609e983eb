"""What the end of a call means to others."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.calls import Call
from app.errors import GiveUp, JobError, RetryLater
from app.limits.outcomes import pause_seconds, provider_failed, rejected_key

KEY = "5746ab08-eb1b-50fa-8438-70d442382d68"


def ended(failure: JobError | None, key: str = KEY) -> Call:
    return Call("openai", "gpt-4o", "answer", key, failure=failure)


@pytest.mark.parametrize(
    "code", ["provider.unavailable", "provider.overloaded", "provider.timeout", "provider.connection_failed"]
)
def test_what_the_provider_did_wrong_counts_against_it(code: str) -> None:
    assert provider_failed(ended(RetryLater(code, "")))


@pytest.mark.parametrize(
    "failure",
    [
        None,
        RetryLater("provider.rate_limited", ""),
        GiveUp("provider.auth_failed", ""),
        GiveUp("provider.content_refused", ""),
        GiveUp("provider.invalid_request", ""),
    ],
)
def test_what_the_caller_did_wrong_does_not(failure: JobError | None) -> None:
    assert not provider_failed(ended(failure))


def test_a_retry_after_pauses_for_no_longer_than_allowed() -> None:
    asked = RetryLater("provider.rate_limited", "", after_seconds=90)
    assert pause_seconds(ended(asked), 600) == 90
    assert pause_seconds(ended(asked), 60) == 60
    assert pause_seconds(ended(RetryLater("provider.rate_limited", "")), 60) is None
    assert pause_seconds(ended(None), 60) is None


def test_a_refused_key_is_a_persons_never_the_platforms() -> None:
    refused = GiveUp("provider.auth_failed", "")
    assert rejected_key(ended(refused)) == UUID(KEY)
    assert rejected_key(ended(refused, "platform")) is None
    assert rejected_key(ended(None)) is None
