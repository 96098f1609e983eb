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
    spec = Timetable.parse(timetable_of(interval_ms)).spec
    slots = sorted(60 * hour + minute for hour in spec.hour for minute in spec.minute)
    gaps = [b - a for a, b in zip(slots, [*slots[1:], slots[0] + 24 * 60], strict=True)]
    assert min(gaps) * MINUTE_MS >= min(interval_ms, 24 * 60 * MINUTE_MS)
    assert len(set(gaps)) == 1
