"""What a call's end means to others: the breaker, a pause, or the key."""

from __future__ import annotations

from uuid import UUID

from app.calls import Call
from app.errors import RetryLater

#: Ends that are the provider's fault. A refusal, a bad request or a limit say nothing of its health.
_PROVIDER_FAILED = frozenset(
    {
        "provider.unavailable",
        "provider.overloaded",
        "provider.timeout",
        "provider.connection_failed",
        "provider.bad_response",
    }
)


def provider_failed(call: Call) -> bool:
    """Whether a call counts against its provider."""
    return call.failure is not None and call.failure.code in _PROVIDER_FAILED


def pause_seconds(call: Call, longest_seconds: float) -> float | None:
    """For how long the provider wants no more calls with this key, if it says so."""
    failure = call.failure
    if isinstance(failure, RetryLater) and failure.after_seconds:
        return min(failure.after_seconds, longest_seconds)
    return None


def rejected_key(call: Call) -> UUID | None:
    """The person's key that the provider refused, if that is how the call ended."""
    if call.failure is None or call.failure.code != "provider.auth_failed":
        return None
    try:
        return UUID(call.key)
    except ValueError:
        return None
