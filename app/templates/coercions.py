"""Turn any value into the text, number, index or items that a filter works on, as Shopify Liquid does.

The rules are those of `Liquid::Utils` and `Liquid::StandardFilters::InputIterator`. One is different: lists
and objects become JSON, not the notation of Ruby.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from app.templates.context import GuardedContext
from app.templates.limits import Limits, limit_exceeded
from app.templates.no_result import NoResultError

_DECIMAL = re.compile(r"\s*-?\d+\.\d+\s*", re.ASCII)
_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)", re.ASCII)
_OCTAL = re.compile(r"[+-]?0[0-7_]+", re.ASCII)

#: More than the bits that one decimal digit can add to a number.
_BITS_PER_DIGIT = 4


def to_number(value: object, limits: Limits) -> int | Fraction:
    """The number a value stands for: 0 if it is none; floats and decimal text become exact fractions."""
    if isinstance(value, str):
        return _number_in(value, limits)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise limit_exceeded("a number is out of range")
        return Fraction(str(value))
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _number_in(text: str, limits: Limits) -> int | Fraction:
    """A fraction if all of the text is a decimal, else the integer that it begins with, or 0."""
    if _DECIMAL.fullmatch(text):
        _check_digits(text, limits)
        return Fraction(text.strip())
    integer = _LEADING_INTEGER.match(text)
    if integer is None:
        return 0
    _check_digits(integer[1], limits)
    return int(integer[1])


def from_number(number: int | Fraction) -> int | float:
    """The result of arithmetic: whole numbers stay whole, fractions become floats."""
    if isinstance(number, int):
        return number
    try:
        return float(number)
    except OverflowError:
        raise limit_exceeded("a number is out of range") from None


def to_integer(value: object, limits: Limits) -> int:
    """The integer a value stands for; raises `NoResultError` if the whole of it isn't one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii():
        _check_digits(value, limits)
        try:
            return int(value, 8 if _OCTAL.fullmatch(value.strip()) else 0)
        except ValueError:
            pass
    raise NoResultError("needs a whole number")


def to_items(value: object, context: GuardedContext) -> list[object]:
    """The items of a value: a list is flattened, nil has none, anything else is the only item."""
    if value is None:
        return []
    if isinstance(value, range):
        return list(value)
    if not isinstance(value, list):
        return [value]
    return [item for item in _flattened(value, context.limits) if not isinstance(item, list)]


def check_items(value: list[object], limits: Limits) -> None:
    """Raise `GiveUp` if a list has too many items, those of the lists inside it included."""
    for _ in _flattened(value, limits):
        pass


def has_properties(item: object) -> bool:
    """Whether items like this can be asked for a property; a property of a text is a part of it."""
    return isinstance(item, dict | str | int) and not isinstance(item, bool)


def property_of(item: object, name: object) -> object:
    """The property of an item for which `has_properties`; raises `NoResultError` if it can't have it.

    An object has members, a text has parts and characters, a whole number has bits. Nil is the empty name.
    """
    name = "" if name is None else name
    if isinstance(item, dict):
        return item.get(name) if isinstance(name, str) else None
    if isinstance(item, str) and isinstance(name, str):
        return name if name in item else None
    if isinstance(name, bool) or not isinstance(name, int | float) or not math.isfinite(name):
        raise NoResultError("the items don't have such a property")
    index = int(name)
    if isinstance(item, str):
        return item[index] if -len(item) <= index < len(item) else None
    assert isinstance(item, int)
    return item >> min(index, item.bit_length()) & 1 if index >= 0 else 0


def same(left: object, right: object, check_time: Callable[[], None]) -> bool:
    """Whether two values are equal; unlike in Python, true isn't 1 and false isn't 0.

    The time is checked for every value inside: a list can have one large object many times.
    """
    check_time()
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same(value, right[key], check_time) for key, value in left.items()
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            same(*pair, check_time) for pair in zip(left, right, strict=True)
        )
    return left == right


def _flattened(items: list[object], limits: Limits) -> Iterator[object]:
    """Every item and every list inside, depth first, without recursion; raises `GiveUp` if they are many."""
    unfinished = [iter(items)]
    left = limits.items
    while unfinished:
        for found in unfinished[-1]:
            left -= 1
            if left < 0:
                raise limit_exceeded(f"a filter meets a list of more than {limits.items} items")
            yield found
            if isinstance(found, list):
                unfinished.append(iter(found))
                break
        else:
            unfinished.pop()


def _check_digits(text: str, limits: Limits) -> None:
    """Raise `GiveUp` before a text is parsed that could be far wider than a number may be."""
    if len(text) * _BITS_PER_DIGIT > 2 * limits.number_bits:
        raise limit_exceeded(f"a number needs more than {limits.number_bits} bits")
