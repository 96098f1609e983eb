"""When a failed node is tried again, and after how long."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

#: A time that the other side asked for is honoured up to this many times the longest backoff.
RETRY_AFTER_LIMIT = 10
#: Most tries of one node, and longest backoff (ten minutes): a run doesn't last longer.
MOST_ATTEMPTS = 20
LONGEST_BACKOFF_MS = 600_000

#: A random source: uniform between its two arguments, like `random.uniform`.
Uniform = Callable[[float, float], float]


class Cause(StrEnum):
    """What kind of thing went wrong, as the `retryOn` list of a node names it."""

    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"
    RATE_LIMIT = "rate_limit"
    CONTRACT_VIOLATED = "contract_violated"


def _at_least_one(value: object) -> object:
    return max(value, 1) if isinstance(value, int | float) else value


class RetryPolicy(BaseModel):
    """How often, how slowly and after which causes a node is tried again; times in milliseconds."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    attempts: Annotated[int, BeforeValidator(_at_least_one)] = Field(default=1, le=MOST_ATTEMPTS)
    backoff_ms: int = Field(
        default=500,
        ge=0,
        le=LONGEST_BACKOFF_MS,
        validation_alias=AliasChoices("backoffMs", "backoff_ms"),
    )
    max_backoff_ms: int = Field(
        default=8000,
        ge=0,
        le=LONGEST_BACKOFF_MS,
        validation_alias=AliasChoices("maxBackoffMs", "max_backoff_ms"),
    )
    retry_on: frozenset[Cause] = Field(
        default=frozenset({Cause.TIMEOUT, Cause.PROVIDER_ERROR, Cause.RATE_LIMIT}),
        validation_alias=AliasChoices("retryOn", "retry_on"),
    )

    def delay_ms(
        self, cause: Cause | None, tries: int, uniform: Uniform, *, after_seconds: float | None = None
    ) -> int | None:
        """Milliseconds until the next try after `tries` failed ones, or None to give up.

        A failure without a cause is permanent. The wait is half to the whole of the backoff, which doubles
        with every try up to its ceiling. What the other side asked for (`after_seconds`) is a lower bound to
        which that is added, so that many nodes told the same time don't come back at once.
        """
        if cause not in self.retry_on or tries >= self.attempts:
            return None
        ceiling_ms = min(self.max_backoff_ms, self.backoff_ms << max(tries, 1) - 1)
        asked_ms = min(max(after_seconds or 0.0, 0.0) * 1000, self.max_backoff_ms * RETRY_AFTER_LIMIT)
        return round(asked_ms + ceiling_ms * uniform(0.5, 1.0))
