"""Filters that calculate, exactly until the result: decimals don't gather binary errors."""

from __future__ import annotations

import math
from fractions import Fraction

from app.templates.coercions import from_number, has_properties, property_of, to_items, to_number
from app.templates.context import GuardedContext
from app.templates.filters.kinds import Filter
from app.templates.no_result import NoResultError

Number = int | Fraction


def abs_(value: object, *, context: GuardedContext) -> int | float:
    """The distance from zero."""
    number = to_number(value, context.limits)
    return from_number(-number if number < 0 else number)


def at_least(value: object, least: object, *, context: GuardedContext) -> int | float:
    """The value, or `least` if that is more."""
    return from_number(max(to_number(value, context.limits), to_number(least, context.limits)))


def at_most(value: object, most: object, *, context: GuardedContext) -> int | float:
    """The value, or `most` if that is less."""
    return from_number(min(to_number(value, context.limits), to_number(most, context.limits)))


def ceil(value: object, *, context: GuardedContext) -> int:
    """The next whole number up."""
    return math.ceil(to_number(value, context.limits))


def floor(value: object, *, context: GuardedContext) -> int:
    """The next whole number down."""
    return math.floor(to_number(value, context.limits))


def divided_by(value: object, divisor: object, *, context: GuardedContext) -> int | float:
    """The quotient, rounded down if both are whole numbers."""
    number, by = to_number(value, context.limits), _divisor(divisor, context)
    if isinstance(number, int) and isinstance(by, int):
        return number // by
    return from_number(Fraction(number) / by)


def modulo(value: object, divisor: object, *, context: GuardedContext) -> int | float:
    """What is left of a division that is rounded down."""
    return from_number(to_number(value, context.limits) % _divisor(divisor, context))


def plus(value: object, other: object, *, context: GuardedContext) -> int | float:
    """The sum of two numbers."""
    return from_number(to_number(value, context.limits) + to_number(other, context.limits))


def minus(value: object, other: object, *, context: GuardedContext) -> int | float:
    """The difference of two numbers."""
    return from_number(to_number(value, context.limits) - to_number(other, context.limits))


def times(value: object, other: object, *, context: GuardedContext) -> int | float:
    """The product of two numbers."""
    return from_number(to_number(value, context.limits) * to_number(other, context.limits))


def round_(value: object, digits: object = 0, *, context: GuardedContext) -> int | float:
    """The number rounded half away from zero, to a whole one or to some decimal digits."""
    number = to_number(value, context.limits)
    places = int(to_number(digits, context.limits))
    if isinstance(number, int) and places >= 0:
        return number
    # No number here has more digits than bits, so beyond those nothing is left to round.
    places = max(min(places, context.limits.number_bits), -context.limits.number_bits)
    scale = Fraction(10) ** places
    magnitude = -number if number < 0 else number
    rounded = math.floor(magnitude * scale + Fraction(1, 2)) / scale
    signed = -rounded if number < 0 else rounded
    return int(signed) if isinstance(number, int) or places <= 0 else from_number(signed)


def sum_(value: object, name: object = None, *, context: GuardedContext) -> int | float:
    """The sum of all items, or of a property of each."""
    total: Number = 0
    for item in to_items(value, context):
        context.check_time()
        addend = item if name is None else property_of(item, name) if has_properties(item) else 0
        for part in to_items(addend, context):
            total += to_number(part, context.limits)
    return from_number(total)


def _divisor(value: object, context: GuardedContext) -> Number:
    number = to_number(value, context.limits)
    if number == 0:
        raise NoResultError("a number is divided by 0")
    return number


FILTERS: dict[str, Filter] = {
    "abs": abs_,
    "at_least": at_least,
    "at_most": at_most,
    "ceil": ceil,
    "divided_by": divided_by,
    "floor": floor,
    "minus": minus,
    "modulo": modulo,
    "plus": plus,
    "round": round_,
    "sum": sum_,
    "times": times,
}
