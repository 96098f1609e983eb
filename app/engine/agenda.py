"""What is to happen at some time to a try of a node, the next first."""

from __future__ import annotations

import heapq
import math

from app.workflow import NodeId


class Agenda:
    """Tries of nodes, by node and number, each with a time of `time.monotonic()`."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, NodeId, int]] = []

    @property
    def next_at(self) -> float:
        """When the next entry is due; infinity without one."""
        return self._entries[0][0] if self._entries else math.inf

    def add(self, at: float, node_id: NodeId, number: int) -> None:
        """Enter a try."""
        heapq.heappush(self._entries, (at, node_id, number))

    def due(self, now: float, most: float = math.inf) -> list[tuple[NodeId, int]]:
        """Strike out what is due by now, but no more than `most`."""
        found: list[tuple[NodeId, int]] = []
        while self.next_at <= now and len(found) < most:
            _, node_id, number = heapq.heappop(self._entries)
            found.append((node_id, number))
        return found

    def clear(self) -> None:
        """Strike out everything."""
        self._entries.clear()
