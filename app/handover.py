"""The open claims of a process all at once: handed back when it stops, and looked after while it runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.answers import columns_of
from app.calls import call_parameters
from app.claims import Claim
from app.database import Database
from app.patience import retry_on_disconnect

#: A process that stops sits out an outage for so long, to hand over what was bought.
HAND_BACK_SECONDS = 5.0

_HAND_BACK = """
    SELECT worker.release_claim(
        c.id, c.attempt, p_calls => c.calls, p_fence => c.answer IS NOT NULL, p_answer => c.answer,
        p_content => c.content)
    FROM unnest(%s::uuid[], %s, %s::jsonb[], %s::jsonb[], %s::bytea[])
         AS c (id, attempt, calls, answer, content)
"""


def hand_back(database: Database, claims: list[Claim[Any]]) -> None:
    """Mark attempts as put down in good order, so that a deploy doesn't count as a death.

    What they have in hand is kept, with the calls that it took, and is the next attempt's to write.
    """
    kept = [claim.hand.kept() for claim in claims]
    calls = [
        [*claim.calls, *claim.hand.calls] if answer else []
        for claim, answer in zip(claims, kept, strict=True)
    ]
    columns = [columns_of(answer) for answer in kept]
    retry_on_disconnect(
        lambda: database.call(
            _HAND_BACK,
            (
                [claim.message_id for claim in claims],
                [claim.attempt for claim in claims],
                [call_parameters(made) for made in calls],
                [answer for answer, _ in columns],
                [content for _, content in columns],
            ),
        ),
        seconds=HAND_BACK_SECONDS,
    )
    for claim in claims:
        if claim.hand:
            claim.calls.clear()


def find_lost(database: Database, claims: list[Claim[Any]]) -> set[UUID]:
    """The messages of those claims that a newer attempt owns, or that were ended by somebody else."""
    rows = database.call(
        """
        SELECT held.id FROM unnest(%s::uuid[], %s) AS held (id, attempt)
        WHERE NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = held.id
                          AND c.attempt = held.attempt AND c.state <> 'finished')
        """,
        ([claim.message_id for claim in claims], [claim.attempt for claim in claims]),
    )
    return {row["id"] for row in rows}
