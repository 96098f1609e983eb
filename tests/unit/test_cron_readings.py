"""Where the platform's own matcher and cron part; fields are as the platform's facts say it reads them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.platform.cron_readings import PlatformReading, compare, differences
from app.timetable import Timetable

NOW = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)  # a Sunday
ALL = {
    "minute": range(60),
    "hour": range(24),
    "day": range(1, 32),
    "month": range(1, 13),
    "weekday": range(7),
}


def reading(**fields: list[int]) -> PlatformReading:
    """One that accepts these values, and any for other fields."""

    def rows() -> Iterator[dict[str, object]]:
        for field, values in (ALL | fields).items():
            yield from ({"field": field, "value": value} for value in values)

    return PlatformReading.of(rows())


NOTHING = PlatformReading.of([])


def test_the_same_reading_differs_in_nothing() -> None:
    assert not compare(Timetable.parse("0 9 * * *"), reading(minute=[0], hour=[9]), NOW)
    assert not compare(Timetable.parse("* * * * *"), reading(), NOW)


def test_an_expression_that_the_platform_can_not_read_leaves_out_the_next_slot() -> None:
    found = compare(Timetable.parse("@daily"), NOTHING, NOW)
    assert (found.missing, found.surplus) == (datetime(2026, 11, 2, tzinfo=UTC), None)
    assert str(found).endswith("differently: it leaves out 2026-11-02 00:00")


def test_both_days_at_once_leave_out_all_fridays_but_the_thirteenth() -> None:
    theirs = reading(minute=[0], hour=[0], day=[13], weekday=[5])
    found = compare(Timetable.parse("0 0 13 * 5"), theirs, NOW)
    assert (found.missing, found.surplus) == (datetime(2026, 11, 6, tzinfo=UTC), None)


def test_a_step_that_counts_from_nought_adds_and_leaves_out_days() -> None:
    theirs = reading(minute=[0], hour=[0], day=list(range(2, 32, 2)))
    found = compare(Timetable.parse("0 0 */2 * *"), theirs, NOW)
    assert (found.missing, found.surplus) == (
        datetime(2026, 11, 3, tzinfo=UTC),
        datetime(2026, 11, 2, tzinfo=UTC),
    )


def test_a_date_that_comes_once_a_year_is_compared_too() -> None:
    theirs = reading(minute=[0], hour=[0], day=[1], month=[11])
    assert compare(Timetable.parse("0 0 1 10 *"), theirs, NOW).surplus == datetime(2027, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "has_surplus"),
    [("UTC", False), ("Africa/Abidjan", False), ("Europe/Istanbul", True), ("Europe/London", True)],
)
def test_a_zone_adds_runs_where_the_clock_ever_differs_from_utc(zone: str, has_surplus: bool) -> None:
    found = differences("0 9 * * *", zone, reading(minute=[0], hour=[9]), NOW)
    assert found == (None, has_surplus)


def test_in_a_zone_of_full_hours_what_is_due_each_hour_differs_in_nothing() -> None:
    assert differences("*/15 * * * *", "Europe/Istanbul", reading(minute=[0, 15, 30, 45]), NOW) == (
        None,
        False,
    )
    assert differences("0 * * * *", "Asia/Kathmandu", reading(minute=[0]), NOW) == (None, True)


@pytest.mark.parametrize(("expression", "zone"), [("99 * * * *", "UTC"), ("0 9 * * *", "Europe/Atlantis")])
def test_what_can_not_be_read_is_not_compared(expression: str, zone: str) -> None:
    assert differences(expression, zone, NOTHING, NOW) == (None, False)
