"""The filters a template may use: an allow-list, each held to the limits of its rendering.

They give what Shopify Liquid 5 gives, whatever they meet; what it reports as an error is a `NoResultError`.
The library's own filters differ from it over nil, missing and oddly typed values, and have no limits.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from decimal import Decimal

from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.filter import with_context
from liquid.undefined import is_undefined

from app.templates.coercions import check_items
from app.templates.context import GuardedContext
from app.templates.filters import dates, encodings, lists, numbers, text
from app.templates.filters.kinds import Filter
from app.templates.limits import Limits, limit_exceeded
from app.templates.nodes import printed_text

__all__ = ["FILTERS", "guarded_filters"]


def default(value: object, instead: object = "", *, allow_false: object = False) -> object:
    """The value, or `instead` if it is nil, empty or, unless that is allowed, false."""
    is_false = value is False and (allow_false is None or allow_false is False)
    is_empty = isinstance(value, str | list | dict) and not value
    return instead if value is None or is_false or is_empty else value


#: Every filter that there is, by name.
FILTERS: dict[str, Filter] = {
    "default": default,
    **dates.FILTERS,
    **encodings.FILTERS,
    **lists.FILTERS,
    **numbers.FILTERS,
    **text.FILTERS,
}


def guarded_filters() -> dict[str, Filter]:
    """Every filter by name; what it takes and what it gives is measured."""
    return {name: _guard(function) for name, function in FILTERS.items()}


def _guard(function: Filter) -> Filter:
    parameters = inspect.signature(function).parameters

    @with_context
    def guarded(left: object, /, *args: object, context: GuardedContext, **named: object) -> object:
        context.check_time()
        if named and "allow_false" not in parameters:
            args, named = (
                (*args, named),
                {},
            )  # as in Ruby: arguments with names are an object, the last argument
        admitted = {name: _admit(value, context) for name, value in named.items()}
        if "context" in parameters:
            admitted["context"] = context
        result = function(_admit(left, context), *(_admit(arg, context) for arg in args), **admitted)
        return _measure(result, context.limits)

    return guarded


def _admit(value: object, context: GuardedContext) -> object:
    """The value in one of the forms that filters know: those of JSON, and ranges."""
    if is_undefined(value):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    elif isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, Empty | Blank):
        value = ""
    elif isinstance(value, Mapping) and not isinstance(value, dict):
        value = printed_text(value, context)  # `forloop` and its kind
    return _measure(value, context.limits)


def _measure(value: object, limits: Limits) -> object:
    """Return the value; raises `GiveUp` if it is larger than the limits allow."""
    if isinstance(value, str) and len(value) > limits.text_characters:
        raise limit_exceeded(f"a filter meets more than {limits.text_characters} characters")
    if isinstance(value, int) and value.bit_length() > limits.number_bits:
        raise limit_exceeded(f"a number needs more than {limits.number_bits} bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise limit_exceeded("a number is out of range")
    if isinstance(value, list):
        check_items(value, limits)
    return value
