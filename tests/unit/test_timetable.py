from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.timetable import LONGEST_LOOK_BACK, Timetable

SUNDAY = datetime(2026, 11, 22, 13, 7, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "now", "slot"),
    [
        ("* * * * *", SUNDAY, datetime(2026, 11, 22, 13, 7, tzinfo=UTC)),
        ("@hourly", SUNDAY, datetime(2026, 11, 22, 13, 0, tzinfo=UTC)),
        ("*/15 9 * * *", SUNDAY, datetime(2026, 11, 22, 9, 45, tzinfo=UTC)),
        ("0 3 * * 0", SUNDAY, datetime(2026, 11, 22, 3, 0, tzinfo=UTC)),
        ("0 3 * * 7", SUNDAY, datetime(2026, 11, 22, 3, 0, tzinfo=UTC)),
        ("0 3 * * sun", SUNDAY, datetime(2026, 11, 22, 3, 0, tzinfo=UTC)),
        ("@weekly", SUNDAY, datetime(2026, 11, 22, 0, 0, tzinfo=UTC)),
        ("0 3 * * mon", SUNDAY, datetime(2026, 11, 16, 3, 0, tzinfo=UTC)),
        ("@monthly", SUNDAY, datetime(2026, 11, 1, 0, 0, tzinfo=UTC)),
        ("@yearly", SUNDAY, None),
    ],
)
def test_the_latest_slot_is_the_last_minute_that_fits(
    expression: str, now: datetime, slot: datetime | None
) -> None:
    assert Timetable.parse(expression).latest_slot(now) == slot


def test_a_slot_may_lie_as_far_back_as_is_looked_but_no_further() -> None:
    newest = datetime(2026, 1, 1, tzinfo=UTC) + LONGEST_LOOK_BACK
    yearly = Timetable.parse("0 0 1 1 *")
    assert yearly.expression == "0 0 1 1 *"
    assert yearly.latest_slot(newest) == datetime(2026, 1, 1, tzinfo=UTC)
    assert yearly.latest_slot(newest + timedelta(minutes=1)) is None


def test_a_time_of_another_zone_is_taken_for_what_it_is_in_utc() -> None:
    nine_in_tokyo = datetime(2026, 11, 22, 9, 30, 15, 250, tzinfo=timezone(timedelta(hours=9)))
    slot = Timetable.parse("@hourly").latest_slot(nine_in_tokyo)
    assert slot == datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    assert slot.tzinfo is UTC


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_minute_is_a_slot_and_slots_never_lie_ahead(now: datetime) -> None:
    slot = Timetable.parse("* * * * *").latest_slot(now)
    assert slot is not None
    assert timedelta() <= now - slot < timedelta(minutes=1)


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_no_slot_is_passed_over(now: datetime) -> None:
    timetable = Timetable.parse("*/20 */6 * * *")
    slot = timetable.latest_slot(now)
    assert slot is not None
    between = slot + timedelta(minutes=1)
    while between <= now:
        assert not (between.minute % 20 == 0 and between.hour % 6 == 0)
        between += timedelta(minutes=1)


@pytest.mark.parametrize("expression", ["", "* * *", "61 * * * *x", "@sometimes"])
def test_an_expression_that_can_not_be_read_is_refused(expression: str) -> None:
    with pytest.raises((ValueError, KeyError, IndexError)):
        Timetable.parse(expression)
