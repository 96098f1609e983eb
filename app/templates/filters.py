"""The filters a template may use: an allow-list, each held to the limits of its rendering.

Most are the library's. What a filter takes and what it gives is measured here; those that could build far
more than they are given, or that the library has in a slow or lossy form, are in `own_filters`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from liquid.builtin.filters import array, misc, string
from liquid.builtin.filters import math as arithmetic
from liquid.filter import with_context
from liquid.undefined import is_undefined

from app.templates import own_filters
from app.templates.context import GuardedContext
from app.templates.limits import Limits, limit_exceeded
from app.templates.nodes import printed_text

Filter = Callable[..., Any]

#: Data that isn't text meets these in the form it would be printed in.
TEXT_FILTERS: dict[str, Filter] = {
    "append": string.append,
    "capitalize": string.capitalize,
    "downcase": string.downcase,
    "escape": string.escape,
    "lstrip": string.lstrip,
    "newline_to_br": string.newline_to_br,
    "prepend": string.prepend,
    "remove": string.remove,
    "remove_first": string.remove_first,
    "remove_last": string.remove_last,
    "replace": own_filters.replace,
    "replace_first": string.replace_first,
    "replace_last": string.replace_last,
    "rstrip": string.rstrip,
    "split": own_filters.split,
    "strip": string.strip,
    "strip_newlines": string.strip_newlines,
    "truncate": string.truncate,
    "truncatewords": string.truncatewords,
    "upcase": string.upcase,
    "url_encode": string.url_encode,
}

DATA_FILTERS: dict[str, Filter] = {
    "abs": arithmetic.abs_,
    "at_least": arithmetic.at_least,
    "at_most": arithmetic.at_most,
    "ceil": arithmetic.ceil,
    "compact": array.compact,
    "date": own_filters.date,
    "default": misc.default,
    "divided_by": arithmetic.divided_by,
    "first": array.first,
    "floor": arithmetic.floor,
    "join": own_filters.join,
    "json": own_filters.to_json,
    "last": array.last,
    "map": own_filters.map_,
    "minus": arithmetic.minus,
    "modulo": arithmetic.modulo,
    "plus": arithmetic.plus,
    "reverse": array.reverse,
    "round": arithmetic.round_,
    "size": misc.size,
    "slice": own_filters.slice_,
    "sort": array.sort,
    "sort_natural": array.sort_natural,
    "times": arithmetic.times,
    "uniq": own_filters.uniq,
    "where": array.where,
}

#: What the library flattens a nested list to, so that is how deep its items are counted.
_FLATTENED_LEVELS = 5


def guarded_filters() -> dict[str, Filter]:
    """Every allowed filter by name, guarded."""
    return {
        **{name: _guard(function, _admit_text) for name, function in TEXT_FILTERS.items()},
        **{name: _guard(function, _admit) for name, function in DATA_FILTERS.items() if name != "default"},
        "default": _guard(misc.default, _admit_anything),
    }


def _guard(function: Filter, admit: Callable[[object, GuardedContext], object]) -> Filter:
    parameters = inspect.signature(function).parameters

    @with_context
    def guarded(left: object, *args: object, context: GuardedContext, **named: object) -> object:
        context.check_time()
        named = {name: admit(value, context) for name, value in named.items()}
        if "context" in parameters:
            named["context"] = context
        if "environment" in parameters:
            named["environment"] = context.env
        result = function(admit(left, context), *(admit(arg, context) for arg in args), **named)
        return _measure(result, context.limits)

    return guarded


def _admit_anything(value: object, _: GuardedContext) -> object:
    return value


def _admit(value: object, context: GuardedContext) -> object:
    if is_undefined(value):
        str(value)  # raises UndefinedError: arithmetic would quietly take it for 0
    if isinstance(value, Decimal):
        value = float(value)
    return _measure(value, context.limits)


def _admit_text(value: object, context: GuardedContext) -> object:
    admitted = _admit(value, context)
    is_number = isinstance(admitted, int | float) and not isinstance(admitted, bool)
    return admitted if is_number else printed_text(admitted, context)


def _measure(value: object, limits: Limits) -> object:
    """Return the value; raises `GiveUp` if it is larger than the limits allow."""
    if isinstance(value, str) and len(value) > limits.text_characters:
        raise limit_exceeded(f"a filter meets more than {limits.text_characters} characters")
    if isinstance(value, int) and value.bit_length() > limits.number_bits:
        raise limit_exceeded(f"a number needs more than {limits.number_bits} bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise limit_exceeded("a number is out of range")
    if isinstance(value, list | tuple | range) and _count(value) > limits.items:
        raise limit_exceeded(f"a filter meets a list of more than {limits.items} items")
    return value


def _count(items: Iterable[object], levels: int = _FLATTENED_LEVELS) -> int:
    """How many items a list has when the lists inside it are flattened as the library would."""
    if isinstance(items, range):
        return len(items)
    nested = (item for item in items if levels and isinstance(item, list | tuple))
    return sum(1 for _ in items) + sum(_count(item, levels - 1) for item in nested)
