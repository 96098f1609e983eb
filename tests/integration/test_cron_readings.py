"""What the platform's matcher is found to accept, field by field, is what it accepts as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.platform.cron_readings import CRON_FIELDS, PlatformReading
from tests.integration.workflow_rows import rows

START = datetime(2026, 2, 27, tzinfo=UTC)

#: Every hour and a few odd minutes of three months.
MOMENTS = [START + timedelta(minutes=7 * step) for step in range(19_000)]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/15 9-17 * * 1-5",
        "0,30 */6 1,15 * *",
        "7-59/7 * */2 3,4 *",
        "14 0 13 * 5",
        "0 0 * * 7",
        "0 0 29 2 *",
        "@daily",
        "* * * * MON",
        "99 * * * *",
        "* * * * * *",
        "not a cron expression at all",
        "",
    ],
)
def test_the_fields_make_up_the_platforms_reading(connection: Connection, expression: str, zone: str) -> None:
    connection.cursor().execute("SELECT set_config('TimeZone', %s, false)", (zone,))
    reading = PlatformReading.of(rows(connection, CRON_FIELDS, expression))
    connection.cursor().execute("SET TIME ZONE 'UTC'")
    accepted = rows(
        connection,
        "SELECT at FROM unnest(%s) AS at WHERE lenses.fn_cron_matches_now(%s, at)",
        MOMENTS,
        expression,
    )
    assert [row["at"] for row in accepted] == [moment for moment in MOMENTS if reading.holds_at(moment)]


def test_a_matcher_that_raises_accepts_nothing(connection: Connection) -> None:
    connection.cursor().execute(
        "CREATE OR REPLACE FUNCTION lenses.fn_cron_matches_now("
        "p_cron_expr text, p_now timestamptz DEFAULT now()) RETURNS boolean LANGUAGE sql"
        " AS $$ SELECT p_cron_expr::integer > 0 $$"
    )
    assert rows(connection, CRON_FIELDS, "0 9 * * x") == []
