"""Filters that work on text; anything else meets them in the form it would be printed in."""

from __future__ import annotations

import re

from app.templates.coercions import to_integer
from app.templates.context import GuardedContext
from app.templates.filters.kinds import Filter
from app.templates.limits import limit_exceeded
from app.templates.nodes import printed_text

#: What Ruby strips and splits at; Python has more, such as the no-break space.
_BLANKS = "\0\t\n\v\f\r "
_WORD = re.compile(r"[^\t\n\v\f\r ]+")
_LINE_END = re.compile(r"\r?\n")


def append(value: object, suffix: object, *, context: GuardedContext) -> str:
    """The value with a text after it."""
    return printed_text(value, context) + printed_text(suffix, context)


def prepend(value: object, prefix: object, *, context: GuardedContext) -> str:
    """The value with a text before it."""
    return printed_text(prefix, context) + printed_text(value, context)


def capitalize(value: object, *, context: GuardedContext) -> str:
    """The first character in upper case, the rest in lower case."""
    return printed_text(value, context).capitalize()


def downcase(value: object, *, context: GuardedContext) -> str:
    """All in lower case."""
    return printed_text(value, context).lower()


def upcase(value: object, *, context: GuardedContext) -> str:
    """All in upper case."""
    return printed_text(value, context).upper()


def strip(value: object, *, context: GuardedContext) -> str:
    """Without blanks at both ends."""
    return printed_text(value, context).strip(_BLANKS)


def lstrip(value: object, *, context: GuardedContext) -> str:
    """Without blanks at the beginning."""
    return printed_text(value, context).lstrip(_BLANKS)


def rstrip(value: object, *, context: GuardedContext) -> str:
    """Without blanks at the end."""
    return printed_text(value, context).rstrip(_BLANKS)


def squish(value: object, *, context: GuardedContext) -> str | None:
    """Without blanks at both ends, and with one space for every run of blanks inside."""
    return None if value is None else " ".join(printed_text(value, context).split())


def strip_newlines(value: object, *, context: GuardedContext) -> str:
    """Without line ends."""
    return _LINE_END.sub("", printed_text(value, context))


def newline_to_br(value: object, *, context: GuardedContext) -> str:
    """With `<br />` before every line end."""
    return _LINE_END.sub("<br />\n", printed_text(value, context))


def replace(value: object, wanted: object, by: object = "", *, context: GuardedContext) -> str:
    """Every occurrence replaced, after working out how long the result will be."""
    before, old, new = (printed_text(part, context) for part in (value, wanted, by))
    length_characters = len(before) + before.count(old) * (len(new) - len(old))
    if length_characters > context.limits.text_characters:
        raise limit_exceeded(f"a filter writes more than {context.limits.text_characters} characters")
    return before.replace(old, new)


def replace_first(value: object, wanted: object, by: object = "", *, context: GuardedContext) -> str:
    """The first occurrence replaced."""
    before, old, new = (printed_text(part, context) for part in (value, wanted, by))
    return before.replace(old, new, 1)


def replace_last(value: object, wanted: object, by: object, *, context: GuardedContext) -> str:
    """The last occurrence replaced."""
    before, old, new = (printed_text(part, context) for part in (value, wanted, by))
    start = before.rfind(old)
    return before if start < 0 else before[:start] + new + before[start + len(old) :]


def remove(value: object, unwanted: object, *, context: GuardedContext) -> str:
    """Every occurrence removed."""
    return replace(value, unwanted, "", context=context)


def remove_first(value: object, unwanted: object, *, context: GuardedContext) -> str:
    """The first occurrence removed."""
    return replace_first(value, unwanted, "", context=context)


def remove_last(value: object, unwanted: object, *, context: GuardedContext) -> str:
    """The last occurrence removed."""
    return replace_last(value, unwanted, "", context=context)


def split(value: object, separator: object, *, context: GuardedContext) -> list[str]:
    """The parts between separators, without empty ones at the end.

    A space stands for any run of blanks, nothing for the place between two characters.
    """
    whole, at = printed_text(value, context), printed_text(separator, context)
    enough = context.limits.items + 1  # one too many, for the guard to see
    if at == "":
        return list(whole[:enough])
    if at == " ":
        return [word[0] for word, _ in zip(_WORD.finditer(whole), range(enough), strict=False)]
    if whole.count(at) > context.limits.items:
        raise limit_exceeded(f"a filter meets a list of more than {context.limits.items} items")
    parts = whole.split(at)
    while parts and parts[-1] == "":
        parts.pop()
    return parts


def truncate(
    value: object, length: object = 50, end: object = "...", *, context: GuardedContext
) -> str | None:
    """At most `length` characters, those of `end` included."""
    if value is None:
        return None
    whole, most, tail = (
        printed_text(value, context),
        to_integer(length, context.limits),
        printed_text(end, context),
    )
    return whole[: max(most - len(tail), 0)] + tail if len(whole) > most else whole


def truncatewords(
    value: object, words: object = 15, end: object = "...", *, context: GuardedContext
) -> str | None:
    """At most `words` words, at least one, with one space between them and `end` for what follows."""
    if value is None:
        return None
    whole, most = printed_text(value, context), max(to_integer(words, context.limits), 1)
    kept: list[str] = []
    for word in _WORD.finditer(whole):
        kept.append(word[0])
        if len(kept) == most and word.end() < len(whole):
            return " ".join(kept) + printed_text(end, context)
    return whole


FILTERS: dict[str, Filter] = {
    "append": append,
    "capitalize": capitalize,
    "downcase": downcase,
    "lstrip": lstrip,
    "newline_to_br": newline_to_br,
    "prepend": prepend,
    "remove": remove,
    "remove_first": remove_first,
    "remove_last": remove_last,
    "replace": replace,
    "replace_first": replace_first,
    "replace_last": replace_last,
    "rstrip": rstrip,
    "split": split,
    "squish": squish,
    "strip": strip,
    "strip_newlines": strip_newlines,
    "truncate": truncate,
    "truncatewords": truncatewords,
    "upcase": upcase,
}
