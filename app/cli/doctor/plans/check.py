"""Checks that the database can do what our statements ask of it, before a job finds out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from app.cli.doctor.finding import Finding, Level, Patient
from app.cli.doctor.plans.extension import check_by_extension
from app.cli.doctor.plans.sources import own_functions, sent_statements, their_functions
from app.cli.doctor.plans.trial import Fault, try_all

#: How many places that have the same fault are named.
MOST_PLACES = 4

_UPDATE = "bring the platform's migrations up to date, or deploy the worker that was made for them"
#: What mends a fault, by SQLSTATE.
_MENDS = {
    "42P10": "make the unique index that the statement's ON CONFLICT names, or " + _UPDATE,
    "42P01": "the table is missing or was renamed: " + _UPDATE,
    "42703": "the column is missing or was renamed: " + _UPDATE,
    "42883": "the function is missing, was renamed or takes other arguments: " + _UPDATE,
    "42804": "the column has another type: " + _UPDATE,
    "22P02": "the type has no such value, for an enum: ALTER TYPE … ADD VALUE; or " + _UPDATE,
    "42501": "grant the worker's role what the message names",
}
_WHY_OURS = "jobs that reach this statement fail, even after they were paid for"
_WHY_THEIRS = "what the worker writes is refused when this code runs"
#: A value of unknown type says nothing of a statement that gets a typed one when it is sent.
_UNCLEAR_WITHOUT_VALUES = {"42725", "42P18"}


def check_statements(patient: Patient) -> Iterator[Finding]:
    """Each statement of ours can be planned: its tables, columns, types, functions, ON CONFLICT targets."""
    if patient.is_restricted:
        yield Finding("statements", Level.FINE, "not looked at: only the platform's owner can")
        return
    own, sent = own_functions(patient), list(sent_statements())
    with patient.session.cursor() as tx:
        faults = list(try_all(tx, own))
        faults += [f for f in try_all(tx, sent) if f.sqlstate not in _UNCLEAR_WITHOUT_VALUES]
    by_extension = check_by_extension(patient)
    known = {(fault.where, fault.sqlstate) for fault in faults}
    faults += [fault for fault in by_extension or [] if (fault.where, fault.sqlstate) not in known]
    clear = [fault for fault in faults if fault.is_clear]
    yield from _findings("statements", Level.BROKEN, clear, _WHY_OURS)
    if not clear:
        how = "plpgsql_check agrees" if by_extension is not None else "plpgsql_check can't be used here"
        what = f"those of {len(own)} functions and {len(sent)} in Python can be planned; {how}"
        what += f"; {len(faults)} can't be judged before they run" if faults else ""
        yield Finding("statements", Level.FINE, what)


def check_platform_code(patient: Patient) -> Iterator[Finding]:
    """The platform's own triggers on what we write, and its functions that we call, can be planned."""
    if patient.is_restricted:
        yield Finding("platform's code", Level.FINE, "not looked at: only the platform's owner can")
        return
    theirs = their_functions(patient)
    with patient.session.cursor() as tx:
        # What runs with other rights than ours may well do what we may not.
        faults = [f for f in try_all(tx, theirs) if f.is_clear and f.sqlstate != "42501"]
    yield from _findings(
        "platform's code",
        Level.WARNING,
        faults,
        _WHY_THEIRS,
    )
    if not faults:
        yield Finding("platform's code", Level.FINE, f"{len(theirs)} triggers and functions planned")


def _findings(area: str, level: Level, faults: Iterable[Fault], why: str) -> Iterator[Finding]:
    """One finding for each thing that is wrong, with the places that it is wrong in."""

    def cause(fault: Fault) -> tuple[str, str]:
        return fault.sqlstate, fault.message

    for (sqlstate, message), group in groupby(sorted(faults, key=cause), cause):
        places = list(dict.fromkeys(f"{fault.where} line {fault.line}: {fault.statement}" for fault in group))
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        what = f"{sqlstate} {message}, in {'; '.join(places[:MOST_PLACES])}{more}"
        yield Finding(area, level, what, why, _MENDS.get(sqlstate, _UPDATE))
