"""A call's way past the limits: take a passage, make the call, settle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg2
import structlog

from app.budgets import OwnersPurse
from app.calls import Call
from app.claims import Claim
from app.database import Database
from app.errors import DatabaseError, PutBack
from app.patience import retry_on_disconnect
from app.purse import paid_from

log = structlog.get_logger(__name__)

#: How often a thread that waits looks whether it was called: its place is kept for two seconds only.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Quota:
    """Whose limits a call is under: those of a key for a model, shared with others by its owner."""

    provider: str
    model: str
    key: str
    owner: str


@dataclass
class Spent:
    """What the calls of one passage came to; nobody knows the `tokens` of a call that failed.

    `ticket` is whose passage it is, None where its message leads to it; `since` is when it was taken, on this
    process's monotonic clock, in seconds.
    """

    ticket: UUID | None
    since: float
    calls: int = 0
    seconds: float = 0.0
    tokens: float | None = 0.0

    def add(self, call: Call) -> None:
        """Count one more call."""
        call.passage = self.ticket
        self.calls += 1
        self.seconds += call.duration_ms / 1000
        if call.failure is not None:
            self.tokens = None
        elif self.tokens is not None:
            self.tokens += call.tokens_in + call.tokens_out


class _Open(threading.local):
    spent: Spent | None = None


_open = _Open()


@contextmanager
def passage_of(claim: Claim[Any]) -> Iterator[None]:
    """Settle the passage that came with a claim when its job is put down, however it ended."""
    if not claim.bound:
        yield
        return
    with _settling(claim.database, claim.message_id, Spent(None, time.monotonic())):
        yield


def is_bound(database: Database, owner: str) -> bool:
    """Whether anything stands in the way of an owner's calls: a limit, a breaker, a pause or a budget."""
    rows = database.call(
        "SELECT worker.fn_calls_are_bound() OR worker.fn_budgeted_owner(%s) IS NOT NULL AS bound", (owner,)
    )
    return bool(rows[0]["bound"])


@contextmanager
def passage(
    database: Database,
    ticket: UUID,
    quota: Quota,
    *,
    hold_seconds: float,
    patience_seconds: float = 0.0,
) -> Iterator[None]:
    """Take a passage for what calls without a claim of its own, such as a workflow's node.

    `ticket` stands for the one who calls and is the same when it comes again. Waits here for at most
    `patience_seconds`; raises `PutBack` with the time after which to come back where that is too short. The
    calls are paid from the owner's budgets, where there are any.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        pass_ = database.call(
            "SELECT wait_ms, bound, owner FROM worker.ask_passage(%s, %s, %s, %s, %s, %s)",
            (ticket, quota.provider, quota.model, quota.key, quota.owner, hold_seconds),
        )[0]
        wait_seconds = pass_["wait_ms"] / 1000
        if not wait_seconds:
            break
        if time.monotonic() + wait_seconds > deadline:
            raise PutBack(
                "provider.waiting",
                "the provider takes no more calls yet",
                after_seconds=wait_seconds,
                ticket=ticket,
            )
        time.sleep(min(wait_seconds, LOOK_SECONDS))
    with ExitStack() as around:
        if pass_["bound"]:
            around.enter_context(_settling(database, ticket, Spent(ticket, time.monotonic())))
        if pass_["owner"]:
            purse = OwnersPurse(database, pass_["owner"], ticket, hold_seconds, patience_seconds)
            around.enter_context(paid_from(purse))
        yield


def count_call(call: Call) -> None:
    """Count a call for the passage that is open on this thread, if one is."""
    if _open.spent is not None and call.purpose != "poll":
        _open.spent.add(call)


@contextmanager
def _settling(database: Database, ticket: UUID, spent: Spent) -> Iterator[None]:
    _open.spent = spent
    try:
        yield
    finally:
        _open.spent = None
        try:
            _settle(database, ticket, spent)
        except (psycopg2.Error, DatabaseError) as error:
            # It ends with its message, or expires; the job's own outcome matters more.
            log.warning("passage not settled", error=str(error).strip())


def _settle(database: Database, ticket: UUID, spent: Spent) -> None:
    seconds_per_call = spent.seconds / spent.calls if spent.calls else None
    terms = (ticket, spent.calls, spent.tokens, seconds_per_call)
    # To settle twice changes nothing, nor what somebody else took meanwhile.
    retry_on_disconnect(
        lambda: database.call(
            "SELECT worker.settle_passage(%s, %s, %s, %s, %s)", (*terms, time.monotonic() - spent.since)
        )
    )
