"""What a reviewer said: accepted, sent back, or for a person to decide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

#: Longest reason that is told of a review; all of it stands in the review itself.
LONGEST_REASON_CHARACTERS = 500

_VERDICT = re.compile(
    r"^[^\w\n]*verdict[^\w\n]+(?P<word>accept|approve|reject|ask)(?:ed|d|s)?\b", re.IGNORECASE | re.MULTILINE
)
_PUNCTUATION = " \t\r\n:;,.*_`-–—"
_NO_VERDICT = "gave no verdict that can be read"
_NO_REASON = "gave no reason"


class ReviewVerdict(StrEnum):
    """What becomes of reviewed work."""

    ACCEPT = "accept"
    REJECT = "reject"
    ASK = "ask"


_WORDS = {
    "accept": ReviewVerdict.ACCEPT,
    "approve": ReviewVerdict.ACCEPT,
    "reject": ReviewVerdict.REJECT,
    "ask": ReviewVerdict.ASK,
}


@dataclass(frozen=True)
class Review:
    """A verdict and the reason for it, shortened."""

    verdict: ReviewVerdict
    reason: str


def read_review(text: str) -> Review:
    """Read the last line of the form `VERDICT: REJECT why`; without one a person must look.

    The last one counts: reviewers quote the work, which may hold such a line too.
    """
    found = list(_VERDICT.finditer(text))
    if not found:
        return Review(ReviewVerdict.ASK, _NO_VERDICT)
    last = found[-1]
    reason = text[last.end() :].strip(_PUNCTUATION) or text[: last.start()].strip() or _NO_REASON
    return Review(_WORDS[last["word"].lower()], _shorten(reason))


def _shorten(reason: str) -> str:
    flat = " ".join(reason.split())
    return flat if len(flat) <= LONGEST_REASON_CHARACTERS else f"{flat[: LONGEST_REASON_CHARACTERS - 1]}…"
