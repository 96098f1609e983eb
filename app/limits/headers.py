"""What a provider's answer says of its limits, in the headers of OpenAI and of Anthropic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

#: Limits are told of a window that its provider doesn't name. It follows from how much is gone and when all
#: of it will be back; only what is plainly a minute is taken for one.
_MINUTE = (50.0, 70.0)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True)
class Learnt:
    """Limits of one key for one model; None where the answer says nothing sure."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __bool__(self) -> bool:
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


def learn(headers: Mapping[str, str], now: datetime | None = None) -> Learnt:
    """The limits per minute that an answer tells of; hostile values are as good as none."""
    return Learnt(
        requests_per_minute=_limit(headers, "requests", now or datetime.now(UTC)),
        tokens_per_minute=_limit(headers, "tokens", now or datetime.now(UTC)),
    )


def _limit(headers: Mapping[str, str], what: str, now: datetime) -> float | None:
    for names in (("x-ratelimit-{}-" + what), (f"anthropic-ratelimit-{what}-" + "{}")):
        limit = _number(headers.get(names.format("limit")))
        left = _number(headers.get(names.format("remaining")))
        reset = _reset_seconds(headers.get(names.format("reset")), now)
        if limit is None or left is None or reset is None or not 0 <= left < limit:
            continue
        window_seconds = reset * limit / (limit - left)
        if _MINUTE[0] <= window_seconds <= _MINUTE[1]:
            return limit
    return None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,12}", text.strip()) else None


def _reset_seconds(text: str | None, now: datetime) -> float | None:
    """Seconds in a duration such as `6m0s` or `120ms`, or until a time such as `2026-01-01T00:00:00Z`."""
    given = (text or "").strip()
    duration = _DURATION.fullmatch(given) if given and len(given) <= 40 else None
    if duration:
        return sum(float(part) * unit for part, unit in zip(duration.groups(), _SECONDS, strict=True) if part)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return None
    return (moment - now).total_seconds() if moment.tzinfo else None
