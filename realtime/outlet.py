"""Where what was heard goes: the functions of the worker schema that forward votes and battle events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.database import Database

log = structlog.get_logger(__name__)

#: A row appears when its transaction commits, which may be this long after its created_at.
OVERLAP_SECONDS = 600

#: A battle's votes are inspected once in this time at most.
INSPECTION_INTERVAL_MS = 500

#: Changes of status that one statement dispatches.
EVENTS_AT_ONCE = 200


@dataclass(frozen=True)
class Outlet:
    """Forwards what it is told to; a kind that is switched off is skipped for good."""

    database: Database
    votes_enabled: bool = True
    events_enabled: bool = True

    def begin(self) -> None:
        """Let what happens while a kind is switched off pass: it would be told days late."""
        for feed, enabled in (("votes", self.votes_enabled), ("battle_events", self.events_enabled)):
            if not enabled:
                self.database.call("SELECT worker.fn_skip_feed(%s)", (feed,))

    def want_inspections(self, battles: Collection[UUID]) -> None:
        """Have the votes of these battles inspected soon."""
        if self.votes_enabled:
            self.database.call(
                "SELECT worker.fn_want_inspections(%s, %s)", (list(battles), INSPECTION_INTERVAL_MS)
            )

    def catch_up(self) -> None:
        """Find every vote that no inspection has seen, and each change of status not told of."""
        if self.votes_enabled:
            found = self.database.call(
                "SELECT worker.fn_catch_up_votes(%s * interval '1 second', %s)",
                (OVERLAP_SECONDS, INSPECTION_INTERVAL_MS),
            )
            log.debug("caught up with votes", battles=len(found))
        self.dispatch_events()

    def dispatch_events(self) -> None:
        """Tell workflows of each change of a battle's status that they have not been told of."""
        while self.events_enabled:
            rows = self.database.call(
                "SELECT * FROM worker.fn_dispatch_battle_events(%s * interval '1 second', %s)",
                (OVERLAP_SECONDS, EVENTS_AT_ONCE),
            )
            for row in rows:
                context = {"battleId": str(row["battle_id"]), "status": row["status"]}
                if row["error"]:
                    log.error("workflows could not be told of a battle", reason=row["error"], **context)
                elif row["runs"]:
                    log.info("a battle began workflows", runs=row["runs"], **context)
            if len(rows) < EVENTS_AT_ONCE:
                return
