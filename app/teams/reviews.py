"""What a reviewer said: accepted, sent back, or for a person to decide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from app.texts.answers import block_in, label_for
from app.texts.thinking import without_thinking

#: Longest reason that is told of a review; all of it stands in the review itself.
LONGEST_REASON_CHARACTERS = 500

_VERDICT = re.compile(
    r"^[^\w\n]*(?:(?:my|the|final|overall)\s+){0,2}verdict(?:\s+is)?[^\w\n]+"
    r"(?P<word>accept|approve|reject|ask)(?:ed|d|s)?\b",
    re.IGNORECASE | re.MULTILINE,
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


_SPELLINGS = {
    f"{word}{ending}": verdict for word, verdict in _WORDS.items() for ending in ("", "d", "ed", "s")
}
_REASONS = ("reason", "reasoning", "rationale", "feedback", "comment", "comments", "changes")


@dataclass(frozen=True)
class Review:
    """A verdict and the reason for it, shortened."""

    verdict: ReviewVerdict
    reason: str


def read_review(text: str) -> Review:
    """Read the last line of the form `VERDICT: REJECT why`; without one a person must look.

    The last one counts: reviewers quote the work, which may hold such a line too. What a reviewer thought
    aloud counts for nothing. A verdict that is a JSON object, or nothing but the word, is read too.
    """
    text = without_thinking(text)
    plain = _plain_review(text)
    if plain:
        return plain
    found = list(_VERDICT.finditer(text))
    if not found:
        return Review(ReviewVerdict.ASK, _NO_VERDICT)
    last = found[-1]
    reason = text[last.end() :].strip(_PUNCTUATION) or text[: last.start()].strip() or _NO_REASON
    return Review(_WORDS[last["word"].lower()], _shorten(reason))


def _plain_review(text: str) -> Review | None:
    """A review that is JSON from end to end or in a fence of its own, or one word."""
    found = block_in(text)
    if isinstance(found, dict):
        given = {key.lower(): value for key, value in found.items()}
        word = label_for(str(given.get("verdict", "")), _SPELLINGS)
        reason = next((given[key] for key in _REASONS if isinstance(given.get(key), str)), "")
    else:
        word, reason = (label_for(text, _SPELLINGS) if "\n" not in text.strip() else None), ""
    return Review(_SPELLINGS[word], _shorten(str(reason).strip() or _NO_REASON)) if word else None


def _shorten(reason: str) -> str:
    flat = " ".join(reason.split())
    return flat if len(flat) <= LONGEST_REASON_CHARACTERS else f"{flat[: LONGEST_REASON_CHARACTERS - 1]}…"
