"""The purse of an owner with budgets."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.budgets.refusals import raise_refusal
from app.calls import PLATFORM_KEY, call_parameters, unsettled_calls
from app.claims import Claim
from app.database import Database
from app.errors import DatabaseAway, PutBack
from app.purse import Ceiling, paid_from
from app.settings import settings

#: Time for a result to be written after its call has had all the time it may take.
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class OwnersPurse:
    """Holds the most that a call can cost against its owner's budgets before it goes out.

    `ticket` stands for the one who calls and is the same when it comes again. What is held counts as spent
    `hold_seconds` later if nobody has told by then what the call cost. Where others' calls hold what is left,
    it waits here for at most `patience_seconds`.
    """

    database: Database
    owner: str
    ticket: UUID
    hold_seconds: float
    patience_seconds: float = 0.0

    @property
    def max_output_tokens(self) -> int:
        """What bounds an answer whose job names no bound: without one its cost has none."""
        return settings().budget_max_output_tokens

    def hold(self, provider: str, model: str, key: str, ceiling: Ceiling) -> UUID | None:
        """Set aside what a call can cost; None where it costs nothing that a budget counts.

        Raises `GiveUp` `budget.exceeded` or `budget.no_price`, or `PutBack` where the call may fit when
        others have settled.
        """
        self._settle_earlier()
        hold = uuid4()
        deadline = time.monotonic() + self.patience_seconds
        while True:
            answer = self._ask(hold, provider, model, key, ceiling)
            if answer["verdict"] == "held":
                return hold
            if answer["verdict"] != "wait":
                raise_refusal(answer, f"{provider}/{model}")
                return None
            wait_seconds = answer["wait_ms"] / 1000
            if time.monotonic() + wait_seconds > deadline:
                raise PutBack(
                    "budget.waiting", "other calls hold what is left of a budget", after_seconds=wait_seconds
                )
            time.sleep(wait_seconds)

    def _settle_earlier(self) -> None:
        """Tell what earlier calls of the same work came to: it must not wait for what they held."""
        earlier = unsettled_calls()
        if earlier:
            self._call("SELECT worker.settle_holds(%s)", (call_parameters(earlier),))
            for call in earlier:
                call.hold = None

    def _ask(self, hold: UUID, provider: str, model: str, key: str, ceiling: Ceiling) -> dict[str, Any]:
        statement = "SELECT * FROM worker.hold_budget(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        terms = (
            hold,
            self.owner,
            self.ticket,
            key != PLATFORM_KEY,
            provider,
            model,
            ceiling.tokens_in,
            ceiling.tokens_out,
            ceiling.units,
            ceiling.seconds,
            self.hold_seconds + GRACE_SECONDS,
        )
        return self._call(statement, terms)[0]

    def _call(self, statement: str, terms: tuple[Any, ...]) -> list[dict[str, Any]]:
        try:
            return self.database.call(statement, terms)
        except DatabaseAway:
            # A session that was lost meanwhile is found out by using it. One id is held for once, and to
            # settle twice changes nothing.
            return self.database.call(statement, terms)


def purse_of(claim: Claim[Any], hold_seconds: float) -> AbstractContextManager[None]:
    """Pay for the calls of a claim's job from its owner's purse, if the owner has budgets."""
    if claim.owner is None:
        return nullcontext()
    return paid_from(OwnersPurse(claim.database, claim.owner, claim.message_id, hold_seconds))
