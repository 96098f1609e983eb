"""What answers say of limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.limits.headers import Learnt, learn

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def openai(**values: str) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in values.items()}


def test_openais_limits_of_a_minute_are_learnt() -> None:
    headers = openai(
        limit_requests="500",
        remaining_requests="499",
        reset_requests="120ms",
        limit_tokens="30000",
        remaining_tokens="29000",
        reset_tokens="2s",
    )
    assert learn(headers, NOW) == Learnt(500, 30_000)


def test_anthropics_limits_of_a_minute_are_learnt() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "25",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:30Z",
    }
    assert learn(headers, NOW) == Learnt(requests_per_minute=50)


def test_a_limit_of_a_day_is_not_taken_for_one_of_a_minute() -> None:
    headers = openai(limit_requests="200", remaining_requests="199", reset_requests="7m12s")
    assert not learn(headers, NOW)


@pytest.mark.parametrize(
    ("remaining", "reset", "is_learnt"),
    [
        ("0", "1m0s", True),  # all gone, and back in a minute
        ("0", "50s", True),
        ("0", "49s", False),
        ("0", "1m10s", True),
        ("0", "1m11s", False),
        ("0", "0.5m", False),
        ("0", "1d", False),
        ("0", "1h", False),
    ],
)
def test_only_what_is_plainly_a_minute_is_learnt(remaining: str, reset: str, is_learnt: bool) -> None:
    values = openai(limit_tokens="1", remaining_tokens=remaining, reset_tokens=reset)
    learnt = learn(values, NOW)
    assert learnt == (Learnt(tokens_per_minute=1) if is_learnt else Learnt())
    assert bool(learnt) == is_learnt


def test_without_a_time_the_clock_is_looked_at() -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    headers = {
        f"anthropic-ratelimit-{what}-{name}": value
        for what in ("requests", "tokens")
        for name, value in (("limit", "50"), ("remaining", "0"), ("reset", reset))
    }
    assert learn(headers) == Learnt(50, 50)


def test_the_given_time_counts_for_tokens_too() -> None:
    headers = {
        "anthropic-ratelimit-tokens-limit": "80000",
        "anthropic-ratelimit-tokens-remaining": "40000",
        "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:30Z",
    }
    assert learn(headers, NOW) == Learnt(tokens_per_minute=80_000)


@pytest.mark.parametrize(
    "values",
    [
        {"limit_requests": "500"},
        {"limit_requests": "0", "remaining_requests": "0", "reset_requests": "1s"},
        {"limit_requests": "-5", "remaining_requests": "1", "reset_requests": "1s"},
        {"limit_requests": "500", "remaining_requests": "500", "reset_requests": "0s"},
        {"limit_requests": "5e9", "remaining_requests": "1", "reset_requests": "1s"},
        {"limit_requests": "500", "remaining_requests": "1", "reset_requests": "soon"},
        {"limit_requests": "500", "remaining_requests": "1", "reset_requests": "2026-01-01T00:00:30"},
    ],
)
def test_what_makes_no_sense_teaches_nothing(values: dict[str, str]) -> None:
    assert not learn(openai(**values), NOW)


@given(
    st.dictionaries(
        st.sampled_from([*openai(limit_tokens="", remaining_tokens="", reset_tokens="")]), st.text()
    )
)
def test_hostile_headers_teach_a_number_that_they_name_or_nothing(headers: dict[str, str]) -> None:
    for learnt in vars(learn(headers, NOW)).values():
        assert learnt is None or learnt in {
            float(text) for text in headers.values() if text.strip().isdecimal()
        }
