"""What an error without a SQLSTATE means, which is libpq's or psycopg2's own."""

from __future__ import annotations

import psycopg2
import pytest

from app.errors import DatabaseAway
from app.outages import outage_of, passes, telling_outages


@pytest.mark.parametrize(
    "error",
    [
        psycopg2.OperationalError('could not translate host name "db" to address: Try again'),
        psycopg2.OperationalError("FATAL:  Tenant or user not found"),
        psycopg2.OperationalError("FATAL:  sorry, too many clients already"),
        psycopg2.OperationalError("FATAL:  the database system is starting up"),
        psycopg2.InterfaceError("connection already closed"),
        psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq"),
    ],
)
def test_what_libpq_says_passes(error: psycopg2.Error) -> None:
    assert passes(error)
    outage = outage_of(error)
    assert outage is not None
    assert (outage.sqlstate, outage.session_is_good) == (None, False)


@pytest.mark.parametrize(
    "error",
    [
        psycopg2.ProgrammingError("no results to fetch"),
        psycopg2.ProgrammingError('invalid dsn: missing "=" after "none" in connection info string'),
        psycopg2.DataError("a value that can't be told"),
        psycopg2.NotSupportedError("not here"),
    ],
)
def test_what_psycopg2_refuses_by_itself_is_refused_for_good(error: psycopg2.Error) -> None:
    assert not passes(error)
    with pytest.raises(type(error)), telling_outages():
        raise error


def test_an_outage_is_told_in_one_line() -> None:
    lost = psycopg2.OperationalError(
        "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
        "\tbefore or while processing the request.\n"
    )
    with pytest.raises(DatabaseAway) as told, telling_outages():
        raise lost
    assert str(told.value) == (
        "server closed the connection unexpectedly This probably means the server terminated abnormally"
        " before or while processing the request."
    )
    assert told.value.__cause__ is lost
    assert str(outage_of(psycopg2.OperationalError())) == "OperationalError"


def test_other_errors_are_no_business_of_the_database() -> None:
    with pytest.raises(ZeroDivisionError), telling_outages():
        raise ZeroDivisionError
