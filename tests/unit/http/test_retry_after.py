from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.retry_after import MAX_SECONDS, parse_retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(st.text() | st.floats().map(str) | st.integers().map(str))
def test_any_retry_after_is_a_sane_wait_or_none(value):
    seconds = parse_retry_after(value)
    assert seconds is None or 0 <= seconds <= MAX_SECONDS


@given(st.integers(min_value=0, max_value=10**6))
def test_seconds_are_read_as_they_are(seconds):
    assert parse_retry_after(f" {seconds} ") == seconds


@given(st.integers(min_value=-(10**7), max_value=10**7))
def test_a_date_is_read_as_the_time_until_then(seconds):
    value = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(value, now=NOW) == max(seconds, 0)


@pytest.mark.parametrize(
    ("value", "seconds"), [("-5", 0), ("1.5", 1.5), ("", None), (None, None), ("soon", None)]
)
def test_odd_waits(value, seconds):
    assert parse_retry_after(value) == seconds
