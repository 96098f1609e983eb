"""What becomes of several values that arrive at one label."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import JsonValue

from app.workflow.values import stringify

#: What `concat` puts between two texts.
BLANK_LINE = "\n\n"


class MergeStrategy(StrEnum):
    """How values for one label become one; arrivals come in the graph's edge order."""

    LAST_WRITE_WINS = "last_write_wins"
    CONCAT = "concat"
    ARRAY = "array"
    JSON_OBJECT = "json_object"

    def merge(self, arrivals: Sequence[tuple[str, JsonValue]]) -> JsonValue:
        """One value from at least one (source node id, value)."""
        values = [value for _, value in arrivals]
        match self:
            case MergeStrategy.CONCAT:
                return BLANK_LINE.join(map(stringify, values))
            case MergeStrategy.ARRAY:
                return values
            case MergeStrategy.JSON_OBJECT:
                return dict(arrivals)
            case MergeStrategy.LAST_WRITE_WINS:
                return "" if values[-1] is None else values[-1]
