"""The nodes of a run that wait without a thread, and how they come by their next turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from app.database import Database
from app.engine.tries import Resumed
from app.patience import retry_on_disconnect
from app.platform.parked_nodes import ParkedNode, Taken, put_down, take_up
from app.platform.workflows import RunHold, RunLost, Verdict
from app.workflow import NodeId, Progress

#: How often a run that is at work looks whether its parked nodes have their turn.
LOOK_SECONDS = 1.0
#: The same while one of them stands in a provider's line: nobody else has the place that is kept for it.
LOOK_IN_LINE_SECONDS = 0.25


class Waits:
    """The parked nodes of one run; the database says whose turn it is, by its own clock.

    Every look may raise `RunLost`.
    """

    def __init__(self, database: Database, hold: RunHold, progress: Progress) -> None:
        self._database = database
        self._hold = hold
        self._progress = progress
        self._look_at = time.monotonic()
        self._resumed: dict[NodeId, Resumed] = {}
        self._in_line: set[NodeId] = set()

    @property
    def next_look_at(self) -> float:
        """When to look next, on the clock of `time.monotonic()`; infinity while nobody waits."""
        return self._look_at if self._progress.parked else float("inf")

    def resumed(self, node_id: NodeId) -> Resumed | None:
        """What a node finds that has waited."""
        return self._resumed.get(node_id)

    def restore(self, nodes: Sequence[ParkedNode]) -> None:
        """Park again what an earlier attempt parked, except what has been given its turn since."""
        ready = set(self._progress.opening.ready)
        for node in nodes:
            node_id = str(node.node_id)
            if node_id not in ready:
                continue
            if node.is_taken:
                self._resumed[node_id] = Resumed(node.memo, node.answer)
                continue
            self._progress.begin(node_id)
            self._progress.park(node_id)
            self.note(node_id, node.ticket)

    def note(self, node_id: NodeId, ticket: UUID | None) -> None:
        """A node was parked; with a `ticket`, it stands in a provider's line."""
        if ticket is not None:
            self._in_line.add(node_id)
            self._look_at = min(self._look_at, time.monotonic() + LOOK_IN_LINE_SECONDS)

    def look(self) -> list[NodeId]:
        """The nodes that have their turn now, if it is time to look."""
        if time.monotonic() < self.next_look_at:
            return []
        self._look_at = time.monotonic() + (LOOK_IN_LINE_SECONDS if self._in_line else LOOK_SECONDS)
        return self._wake(self._ask(lambda: take_up(self._database, self._hold)))

    def put_down(self, worked_ms: int) -> list[NodeId]:
        """Put the run down; or give the nodes that have their turn by now, and don't."""
        answer = self._ask(lambda: put_down(self._database, self._hold, worked_ms))
        woken = self._wake(answer)
        if answer.taken and not woken:
            raise RuntimeError("the nodes that have their turn are not those that wait")
        return woken

    def _ask(self, statement: Callable[[], Taken]) -> Taken:
        answer = retry_on_disconnect(statement)
        if answer.verdict is not Verdict.OURS:
            raise RunLost(answer.verdict)
        return answer

    def _wake(self, answer: Taken) -> list[NodeId]:
        woken = [node for node in answer.taken if str(node.node_id) in self._progress.parked]
        for node in woken:
            self._resumed[str(node.node_id)] = Resumed(node.memo, node.answer)
            self._progress.wake(str(node.node_id))
            self._in_line.discard(str(node.node_id))
        return [str(node.node_id) for node in woken]
