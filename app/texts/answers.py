"""Find the JSON or the label that a model was asked for in what it answered.

Models think aloud first, put fences and words around what they were asked for, and write braces in their
words. No value is ever made up: only what is written as a whole counts, and a part of something broken
doesn't. The liberties taken are those that leave one reading only: a comma before a closing bracket, line
breaks inside of strings, and typographic quotes where there are no others.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from pydantic import JsonValue

from app.texts.json_text import BYTE_ORDER_MARK
from app.texts.scanning import decode, scan
from app.texts.thinking import without_thinking

_DECORATION = " \t\r\n\"'`*_“”‘’«»"
_PUNCTUATION = ".,;:!"
_LEAD = re.compile(
    r"(?:[-*•]\s+)?[*_`]*(?:the\s+)?(?:final\s+|best\s+|correct\s+)?"
    r"(?:category|label|class|classification|answer|result|winner|verdict)[*_`]*\s*(?:is\b|[:=])\s*",
    re.IGNORECASE,
)
_FENCE_LINE = re.compile(r"\s*(?:`{3,}|~{3,})[\w+.-]*\s*")


def readings(text: str) -> list[list[JsonValue]]:
    """The JSON values that an answer may mean, in groups, the likeliest group first.

    The first is all of the answer, if it is JSON; the second is what stands in code fences; the third what
    stands among words.
    """
    whole = _whole(text)
    if whole is not None:
        return [[whole]]
    found = scan(without_thinking(text))
    fenced = [each.value for each in found if each.is_fenced]
    loose = [each.value for each in found if not each.is_fenced]
    return [group for group in (fenced, loose) if group]


def json_in(text: str) -> JsonValue:
    """The JSON that an answer most likely means; None where there is none.

    Of several it is the first. A list of plain values, such as a reference `[1]`, comes after objects.
    """
    for group in readings(text):
        ordered = sorted(group, key=lambda value: not _is_structured(value))
        found = next((value for value in ordered if value is not None and value != ""), None)
        if found is not None:
            return found
    return None


def block_in(text: str) -> JsonValue:
    """The object or list that a text is, or that stands apart from its words; None where there is none.

    Apart is what stands in a code fence, and one object or list of objects on lines of its own.
    """
    if "{" not in text and "[" not in text:
        return None
    whole = _whole(text)
    if isinstance(whole, dict | list):
        return whole
    found = scan(without_thinking(text))
    fenced = [each.value for each in found if each.is_fenced and isinstance(each.value, dict | list)]
    apart = [each.value for each in found if each.has_own_lines and _is_structured(each.value)]
    return fenced[0] if fenced else apart[0] if len(apart) == 1 else None


def label_in(text: str, labels: Collection[str]) -> str | None:
    """The label that is all of an answer, or of its first or last line; None for no label, or two."""
    lines = [line for line in without_thinking(text).splitlines() if line.strip()]
    lines = [line for line in lines if not _FENCE_LINE.fullmatch(line)]
    found = {label_for(line, labels) for line in (lines[:1] + lines[-1:])} - {None}
    return found.pop() if len(found) == 1 else None


def label_for(word: str, labels: Collection[str]) -> str | None:
    """The label that a word means, in any case, quoted or not; None where it is none of them."""
    named = _LEAD.sub("", word.strip(), count=1) if _LEAD.match(word.strip()) else word
    spellings = [word, named, *(each.strip(_DECORATION) for each in (word, named))]
    spellings += [each.strip(_DECORATION + _PUNCTUATION) for each in (word, named)]
    by_name = {label.strip().casefold(): label for label in reversed(list(labels))}
    return next((by_name[key] for each in spellings if (key := each.strip().casefold()) in by_name), None)


def _whole(text: str) -> JsonValue:
    """The value that all of a text is, with its thinking or without; JSON in a JSON string is unpacked."""
    for candidate in (text, without_thinking(text)):
        trimmed = candidate.strip().strip(BYTE_ORDER_MARK).strip()
        found = decode(trimmed, 0) if trimmed else None
        if found is None or found.end != len(trimmed):
            continue
        inner = _whole(found.value) if isinstance(found.value, str) else None
        return inner if isinstance(inner, dict | list) else found.value
    return None


def _is_structured(value: JsonValue) -> bool:
    """Whether a value is an object with keys, or a list of such or of lists."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and any(isinstance(each, dict | list) for each in value)
