"""How a node waits without a thread: it puts itself down and is done again when its turn comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.errors import WorkerError
from app.workflow.values import JsonObject


class WaitingReason(StrEnum):
    """What a parked node waits for; the values of worker.parked_nodes."""

    TIMER = "timer"
    HUMAN_INPUT = "human_input"
    EXTERNAL_CALLBACK = "external_callback"

    @property
    def told(self) -> str:
        """The reason in the words of the platform, which has none for a time."""
        return (WaitingReason.EXTERNAL_CALLBACK if self is WaitingReason.TIMER else self).value


class Park(WorkerError):  # noqa: N818 - an outcome, read aloud in except clauses
    """A node waits for a time, a person's answer or other work, and takes up no thread meanwhile.

    Its function is called again with the `memo` that it left and the answer, if one came. `until` is when
    that happens even without an answer: a time, or a delay on the database's clock; None waits for ever. A
    node that waits for other work may also be woken before, without an answer. `ask` is what people are
    shown: it holds no secret. A node that waits for its provider has a `ticket` in the provider's line and is
    woken when that is called.
    """

    def __init__(
        self,
        reason: WaitingReason,
        until: datetime | timedelta | None = None,
        memo: JsonObject | None = None,
        ask: JsonObject | None = None,
        ticket: UUID | None = None,
    ) -> None:
        super().__init__(reason.value)
        if reason is WaitingReason.TIMER and until is None:
            raise ValueError("who waits for a time names one")
        if isinstance(until, datetime) and until.tzinfo is None:
            raise ValueError("a time needs a time zone")
        self.reason = reason
        self.until = until
        self.memo = memo or {}
        self.ask = ask
        self.ticket = ticket
