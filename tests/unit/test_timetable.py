"""Cron expressions mean what Debian's cron says they mean; the right values are written by hand."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.timetable import MAX_EXPRESSION_CHARS, Timetable

SUNDAY = datetime(2026, 11, 22, 13, 7, 31, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(expression: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    found = islice(Timetable.parse(expression, zone).slots_after(utc(after)), count)
    return [f"{slot:%Y-%m-%d %H:%M}" for slot in found]


@pytest.mark.parametrize(
    ("expression", "slot"),
    [
        ("* * * * *", "2026-11-22 13:07"),
        ("@hourly", "2026-11-22 13:00"),
        ("*/15 9 * * *", "2026-11-22 09:45"),
        ("0 3 * * 0", "2026-11-22 03:00"),
        ("0 3 * * 7", "2026-11-22 03:00"),
        ("0 3 * * sun", "2026-11-22 03:00"),
        ("@weekly", "2026-11-22 00:00"),
        ("0 3 * * mon", "2026-11-16 03:00"),
        ("@monthly", "2026-11-01 00:00"),
        ("@yearly", "2026-01-01 00:00"),
        ("0 0 29 2 *", "2024-02-29 00:00"),
    ],
)
def test_the_latest_slot_is_the_last_minute_that_fits(expression: str, slot: str) -> None:
    assert Timetable.parse(expression).latest_slot(SUNDAY) == utc(slot)


def test_leap_days_around_a_year_that_has_none_are_found() -> None:
    assert Timetable.parse("0 0 29 2 *").latest_slot(utc("2104-02-28")) == utc("2096-02-29")


# November 2026 begins on a Sunday.
@pytest.mark.parametrize(
    ("expression", "first"),
    [
        # lists, ranges and steps
        ("5,10-12 0 * * *", ["11-01 00:05", "11-01 00:10", "11-01 00:11", "11-01 00:12", "11-02 00:05"]),
        ("0 8-18/5 * * *", ["11-01 08:00", "11-01 13:00", "11-01 18:00", "11-02 08:00"]),
        ("0 10/6 * * *", ["11-01 10:00", "11-01 16:00", "11-01 22:00", "11-02 10:00"]),
        # a step counts from the range's beginning: odd days, not even ones
        ("0 0 */2 * *", ["11-03 00:00", "11-05 00:00", "11-07 00:00"]),
        # names
        ("0 9 * * MON-FRI", ["11-02 09:00", "11-03 09:00"]),
        ("0 9 1 Dec *", ["12-01 09:00"]),
        ("0 9 * jan,DEC tue", ["12-01 09:00", "12-08 09:00"]),
        # macros
        ("@daily", ["11-02 00:00", "11-03 00:00"]),
        ("@midnight", ["11-02 00:00"]),
        ("@WEEKLY", ["11-08 00:00", "11-15 00:00"]),
        ("  @monthly ", ["12-01 00:00"]),
        # Sunday is 0 and 7
        ("0 0 * * 0", ["11-08 00:00", "11-15 00:00"]),
        ("0 0 * * 7", ["11-08 00:00", "11-15 00:00"]),
        ("0 0 * * 5-7", ["11-06 00:00", "11-07 00:00", "11-08 00:00", "11-13 00:00"]),
        # the day of the month or of the week: the 13th, and all Fridays
        ("0 0 13 * 5", ["11-06 00:00", "11-13 00:00", "11-20 00:00", "11-27 00:00", "12-04 00:00"]),
        ("0 0 1,15 * fri", ["11-06 00:00", "11-13 00:00", "11-15 00:00", "11-20 00:00"]),
        # and both, where one begins with a star: odd days that are Mondays
        ("0 0 */2 * 1", ["11-09 00:00", "11-23 00:00"]),
        # the last day, the last weekday, the last Friday, the first Monday
        ("0 0 L * *", ["11-30 00:00", "12-31 00:00"]),
        ("0 0 LW * *", ["11-30 00:00", "12-31 00:00"]),
        ("0 0 * * 5L", ["11-27 00:00", "12-25 00:00"]),
        ("0 0 * * mon#1", ["11-02 00:00", "12-07 00:00"]),
    ],
)
def test_all_forms_mean_what_cron_says(expression: str, first: list[str]) -> None:
    found = slots(expression, "2026-11-01 00:00", len(first))
    assert [slot.removeprefix("2026-") for slot in found] == first


# Berlin: 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October 2026.
@pytest.mark.parametrize(
    ("expression", "after", "first"),
    [
        # a fixed time that is left out comes right after the gap, once, and so do several
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("0 2,3 * * *", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        # what comes by the minute or by the hour goes by the clock
        ("*/30 2 * * *", "2026-03-28 12:00", ["2026-03-30 00:00", "2026-03-30 00:30"]),
        ("0 * * * *", "2026-03-28 23:30", ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]),
        # a fixed time that comes twice counts once
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", "2026-10-25 01:15", ["2026-10-26 01:30", "2026-10-27 01:30"]),
        ("0 * * * *", "2026-10-24 23:30", ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"]),
        # the days around are as usual
        ("0 20 * * *", "2026-10-24 12:00", ["2026-10-24 18:00", "2026-10-25 19:00", "2026-10-26 19:00"]),
    ],
)
def test_clocks_that_change_are_followed_as_cron_does(expression: str, after: str, first: list[str]) -> None:
    assert slots(expression, after, len(first), "Europe/Berlin") == first


@pytest.mark.parametrize(
    ("zone", "expression", "after", "first"),
    [
        # Zones that made other schedulers skip a day, stand still or run twice.
        ("America/New_York", "0 0 * * 0", "2025-11-01 12:00", ["2025-11-02 04:00", "2025-11-09 05:00"]),
        ("Europe/Prague", "10 3 * * 0", "2025-10-19 10:00", ["2025-10-26 02:10", "2025-11-02 02:10"]),
        ("Pacific/Chatham", "50 3 * * *", "2026-09-25 15:05", ["2026-09-26 14:05", "2026-09-27 14:05"]),
        ("Antarctica/Troll", "0 23 * * *", "2026-10-24 21:00", ["2026-10-25 23:00", "2026-10-26 23:00"]),
        # No midnight on 6 September 2026: 24:00 is 01:00.
        ("America/Santiago", "0 0 * * *", "2026-09-05 12:00", ["2026-09-06 04:00", "2026-09-07 03:00"]),
        # Half an hour is left out on 4 October 2026.
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 00:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
        ("Asia/Calcutta", "0 9 * * *", "2026-11-22 00:00", ["2026-11-22 03:30"]),
        ("europe/istanbul", "0 9 * * *", "2026-11-22 00:00", ["2026-11-22 06:00"]),
    ],
)
def test_odd_zones_lose_and_repeat_nothing(zone: str, expression: str, after: str, first: list[str]) -> None:
    assert slots(expression, after, len(first), zone) == first


def test_a_slot_of_the_hour_that_comes_twice_is_not_forgotten_in_its_second_pass() -> None:
    timetable = Timetable.parse("30 2 * * *", "Europe/Berlin")
    assert timetable.latest_slot(utc("2026-10-25 01:15")) == utc("2026-10-25 00:30")
    assert timetable.latest_slot(utc("2026-03-29 01:00")) == utc("2026-03-29 01:00")


def test_a_time_of_another_zone_is_taken_for_what_it_is_in_utc() -> None:
    nine_in_tokyo = datetime(2026, 11, 22, 9, 30, 15, 250, tzinfo=timezone(timedelta(hours=9)))
    slot = Timetable.parse("@hourly").latest_slot(nine_in_tokyo)
    assert slot == datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    assert slot.tzinfo is UTC


MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_every_minute_is_a_slot_and_slots_never_lie_ahead(now: datetime) -> None:
    slot = Timetable.parse("* * * * *").latest_slot(now)
    assert slot is not None
    assert timedelta() <= now - slot < timedelta(minutes=1)


@given(MOMENTS)
def test_no_slot_is_passed_over(now: datetime) -> None:
    timetable = Timetable.parse("*/20 */6 * * *")
    slot = timetable.latest_slot(now)
    assert slot is not None
    between = slot + timedelta(minutes=1)
    while between <= now:
        assert not (between.minute % 20 == 0 and between.hour % 6 == 0)
        between += timedelta(minutes=1)


ZONES = st.sampled_from(["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Beirut", "UTC"])
EXPRESSIONS = st.sampled_from(["30 2 * * *", "0 0 * * *", "*/20 * * * *", "0 */3 * * 1-5", "15,45 1-3 * * 0"])


@given(MOMENTS, ZONES, EXPRESSIONS)
def test_slots_only_go_forward_and_looking_back_agrees(now: datetime, zone: str, expression: str) -> None:
    timetable = Timetable.parse(expression, zone)
    found = list(islice(timetable.slots_after(now), 5))
    assert found == sorted(set(found))
    assert found[0] > now
    assert timetable.latest_slot(found[3]) == found[3]
    assert timetable.latest_slot(found[4] - timedelta(seconds=1)) == found[3]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "an expression has five fields, and '' has 0"),
        ("* * *", "an expression has five fields, and '* * *' has 3"),
        ("* * * * * *", "an expression has five fields, and '* * * * * *' has 6"),
        ("61 * * * *", "no minute that can be read in '61 * * * *'"),
        ("* 24 * * *", "no hour that can be read in '* 24 * * *'"),
        ("* * 0 * *", "no day-of-month that can be read in '* * 0 * *'"),
        ("* * * 13 *", "no month that can be read in '* * * 13 *'"),
        ("* * * * 8", "no day-of-week that can be read in '* * * * 8'"),
        ("*/0 * * * *", "no minute that can be read in '*/0 * * * *'"),
        ("5-1 * * * *", "no minute that can be read in '5-1 * * * *'"),
        ("٣ * * * *", "no minute that can be read in '٣ * * * *'"),
        ("@sometimes", "@sometimes is none of @yearly"),
        ("@reboot", "@reboot is none of @yearly"),
        ("9" * 5_000, "5000 characters are no expression, 256 at most are"),
    ],
)
def test_an_expression_that_can_not_be_read_says_why(expression: str, reason: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is looked at
        Timetable.parse(expression)
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize(
    "zone", ["Europe/Atlantis", "", "America", "../../etc/passwd", "a\0b", "localtime", "x" * 999]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone '"):
        Timetable.parse("0 9 * * *", zone)


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb *", "0 0 */20 * 1L"])
def test_a_date_that_does_not_exist_is_read_and_never_comes(expression: str) -> None:
    timetable = Timetable.parse(expression)
    assert timetable.next_slot(SUNDAY) is None
    assert timetable.latest_slot(SUNDAY) is None


@given(st.text(alphabet="0123456789*/,-#LW @ADEFJMNOSTU", max_size=MAX_EXPRESSION_CHARS))
def test_whatever_is_written_is_read_or_refused(expression: str) -> None:
    try:
        timetable = Timetable.parse(expression)
    except ValueError:
        return
    slot = timetable.next_slot(SUNDAY)
    assert slot is None or slot > SUNDAY
