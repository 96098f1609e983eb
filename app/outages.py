"""What an error of the database means: it passes by itself, or the statement is refused for good.

psycopg2's classes don't tell the two apart. A database that is read only for now (25006) and a pooler
without a server (XX000) come as `InternalError`, like faults of a program; a statement that is too complex
(54001) comes as `OperationalError`, like a lost session. The SQLSTATE tells: appendix A of PostgreSQL's
manual lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from app.errors import DatabaseAway

#: The session or the server is at fault: lost sessions, failed logins, no resources, shutdowns, failed files.
_PASSING_CLASSES = frozenset({"08", "28", "53", "57", "58"})
_PASSING_CODES = frozenset(
    {
        "25006",  # the database is read only: its disk is full, or another server takes over
        "25P03",  # the session was ended because it idled in a transaction
        "25P04",  # the session was ended because its transaction took too long
        "72000",  # a snapshot is too old
        "HV00N",  # a foreign server can't be reached
        "XX000",  # what poolers say without a server, and what catalogs say while they change
    }
)
#: What the statement met by chance, in a session that is as good as before.
_MOMENT_CODES = frozenset({"40000", "40001", "40003", "40P01", "55006", "55P03", "57014"})


def passes(error: psycopg2.Error) -> bool:
    """Whether the same statement may well be taken later, or on another session."""
    return outage_of(error) is not None


def outage_of(error: psycopg2.Error) -> DatabaseAway | None:
    """The error as one that passes by itself, or None for a statement that is refused for good."""
    code = error.pgcode
    if code is None:
        # libpq's own words. Of psycopg2's bare DatabaseError comes what a broken connection left half said.
        is_lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return DatabaseAway(in_one_line(error)) if is_lost or type(error) is psycopg2.DatabaseError else None
    if code in _MOMENT_CODES:
        return DatabaseAway(in_one_line(error), sqlstate=code, session_is_good=True)
    if code in _PASSING_CODES or code[:2] in _PASSING_CLASSES:
        return DatabaseAway(in_one_line(error), sqlstate=code)
    return None


@contextmanager
def telling_outages() -> Iterator[None]:
    """Raise `DatabaseAway` for what passes by itself; other errors of psycopg2 go through as they are."""
    try:
        yield
    except psycopg2.Error as error:
        outage = outage_of(error)
        if outage is None:
            raise
        raise outage from error


def trouble_of_one(error: psycopg2.Error | DatabaseAway) -> str:
    """What the database says of one among many things; raises an outage that the others would meet as well.

    A lock that is held, a conflict or a statement that takes too long is the trouble of the one.
    """
    if isinstance(error, psycopg2.Error):
        return in_one_line(error)
    if not error.session_is_good:
        raise error
    return str(error)


def in_one_line(error: psycopg2.Error) -> str:
    """What the database or libpq says, without line breaks, details (they quote rows) and context."""
    return " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
