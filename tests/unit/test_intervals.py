from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intervals import timetable_of
from app.timetable import Timetable

MINUTE_MS = 60_000


@pytest.mark.parametrize(
    ("interval_ms", "timetable"),
    [
        (1, "*/1 * * * *"),
        (60_000, "*/1 * * * *"),
        (60_001, "*/2 * * * *"),
        (300_000, "*/5 * * * *"),
        (7 * MINUTE_MS, "*/10 * * * *"),
        (45 * MINUTE_MS, "0 */1 * * *"),
        (60 * MINUTE_MS, "0 */1 * * *"),
        (60 * MINUTE_MS + 1, "0 */2 * * *"),
        (720 * MINUTE_MS, "0 */12 * * *"),
        (5 * 60 * MINUTE_MS, "0 */6 * * *"),
        (100 * 60 * MINUTE_MS, "0 0 * * *"),
    ],
)
def test_an_interval_becomes_the_next_even_timetable(interval_ms: int, timetable: str) -> None:
    assert timetable_of(interval_ms) == timetable


@given(st.integers(1, 24 * 60 * MINUTE_MS))
def test_slots_are_never_closer_than_asked_for(interval_ms: int) -> None:
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    timetable = Timetable.parse(timetable_of(interval_ms))
    slots = takewhile(lambda slot: slot <= midnight + timedelta(days=2), timetable.slots_after(midnight))
    gaps = {later - earlier for earlier, later in pairwise(slots)}
    assert len(gaps) == 1
    assert gaps.pop() >= min(timedelta(milliseconds=interval_ms), timedelta(days=1))
