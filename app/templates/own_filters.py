"""Filters that replace the library's: these can't outgrow the limits, are linear, and keep to JSON."""

from __future__ import annotations

from typing import Any

from liquid import Environment
from liquid.builtin.filters import misc, string
from liquid.exceptions import FilterArgumentError
from liquid.filter import sequence_filter

from app.templates.context import GuardedContext
from app.templates.limits import limit_exceeded
from app.templates.nodes import printed_text
from app.templates.values import json_pieces

#: Longest text that `date` reads, and longest format it writes by; both are parsed by slow code.
LONGEST_DATE_CHARACTERS = 100


def replace(text: object, wanted: object, by: object = "", *, context: GuardedContext) -> str:
    """Replace every occurrence, after working out how long the result will be."""
    before, old, new = str(text), str(wanted), str(by)
    _check_length(len(before) + before.count(old) * (len(new) - len(old)), context)
    return before.replace(old, new)


def split(text: object, separator: object = "", *, context: GuardedContext) -> list[str]:
    """Split at a separator: a space stands for any white space, nothing for every character."""
    whole, at = str(text), str(separator)
    if at == "":
        return list(whole[: context.limits.items + 1])  # one too many, for the guard to see
    if whole in ("", at):
        return []
    return whole.split(None if at == " " else at, context.limits.items + 1)


@sequence_filter
def join(items: Any, separator: object = " ", *, context: GuardedContext) -> str:
    """Join the printed items, after working out how long the result will be."""
    glue = printed_text(separator, context)
    texts = [printed_text(item, context) for item in items]
    _check_length(sum(map(len, texts)) + len(glue) * (len(texts) - 1), context)
    return glue.join(texts)


@sequence_filter
def map_(items: Any, key: object) -> list[object]:
    """The value under a key of every object, nil where it has none."""
    return [item.get(key) if isinstance(item, dict) else _refuse("map needs objects") for item in items]


@sequence_filter
def uniq(items: Any, key: object = None) -> list[object]:
    """The first of all items that have the same JSON, or the same JSON under a key."""
    firsts: dict[str, object] = {}
    for item in items:
        compared = item if key is None else item.get(key)
        firsts.setdefault("".join(json_pieces(compared)), item)
    return list(firsts.values())


def slice_(value: object, start: object, length: object = 1, *, context: GuardedContext) -> Any:
    """Some items of a list, or some characters of anything else."""
    whole = value if isinstance(value, list | tuple | range) else printed_text(value, context)
    return string.slice_(whole, start, length)


def to_json(value: object, *, context: GuardedContext) -> str:
    """The JSON of any data; text is quoted and null is `null`."""
    text = context.get_buffer()
    for piece in json_pieces(value):
        text.write(piece)
    return text.getvalue()


def date(moment: object, form: object, *, environment: Environment) -> object:
    """Write a date, which may be `now`, a timestamp or text, in a strftime form."""
    if not isinstance(moment, str | int) or not isinstance(form, str):
        return _refuse("date needs a text or a timestamp, and a form")
    if max(len(str(moment)), len(form)) > LONGEST_DATE_CHARACTERS:
        return _refuse("date needs a short text and a short form")
    return misc.date(moment, form, environment=environment)


def _refuse(reason: str) -> object:
    raise FilterArgumentError(reason, token=None)


def _check_length(length_characters: int, context: GuardedContext) -> None:
    if length_characters > context.limits.text_characters:
        raise limit_exceeded(f"a filter writes more than {context.limits.text_characters} characters")
