"""Field types for provider responses: strict about what the worker needs, forgiving about the rest."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

#: The largest count a Postgres integer holds.
_MAX_COUNT = 2**31 - 1


def _count(value: Any) -> int:
    """A token count; 0 for what isn't one, because a wrong number must not cost the answer."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return value if is_count else 0


Count = Annotated[int, BeforeValidator(_count)]


def _part(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


class WirePart(BaseModel):
    """A JSON object of a provider's response; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


#: Marks an object that may be missing, null or malformed: it is then read as empty.
Lenient = BeforeValidator(_part)


def total(*counts: int) -> int:
    """Counts together, as a count."""
    return min(sum(counts), _MAX_COUNT)
