"""Filters that work on lists; anything else is a list of one item, and nil is an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from app.templates.coercions import has_properties, property_of, same, to_integer, to_items
from app.templates.context import GuardedContext
from app.templates.filters.kinds import Filter
from app.templates.limits import limit_exceeded
from app.templates.no_result import NoResultError
from app.templates.nodes import printed_pieces, printed_text
from app.templates.values import json_pieces

_Result = TypeVar("_Result")

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class _NoPropertiesError(Exception):
    """An item can't have properties at all: then a filter that asks for one gives nil."""


def compact(value: object, name: object = None, *, context: GuardedContext) -> list[object] | None:
    """The items that aren't nil, or that have a property that isn't nil."""
    items = to_items(value, context)
    if name is None:
        return [item for item in items if item is not None]
    return _unless_without_properties(
        lambda: [item for item in items if _property(item, name, context) is not None]
    )


def concat(value: object, others: object, *, context: GuardedContext) -> list[object]:
    """The items of both."""
    if not isinstance(others, list):
        raise NoResultError("needs a list")
    return to_items(value, context) + others


def find(value: object, name: object, wanted: object = None, *, context: GuardedContext) -> object:
    """The first item with a property, or whose property is the wanted one; nil if there's none."""
    items = to_items(value, context)
    return _unless_without_properties(
        lambda: next((items[index] for index in _matches(items, name, wanted, context)), None)
    )


def find_index(value: object, name: object, wanted: object = None, *, context: GuardedContext) -> int | None:
    """Where the item is that `find` finds, counted from 0."""
    items = to_items(value, context)
    return _unless_without_properties(lambda: next(_matches(items, name, wanted, context), None))


def has(value: object, name: object, wanted: object = None, *, context: GuardedContext) -> bool | None:
    """Whether `find` finds an item."""
    items = to_items(value, context)
    return _unless_without_properties(lambda: any(True for _ in _matches(items, name, wanted, context)))


def where(
    value: object, name: object, wanted: object = None, *, context: GuardedContext
) -> list[object] | None:
    """The items with a property, or whose property is the wanted one."""
    items = to_items(value, context)
    return _unless_without_properties(
        lambda: [items[index] for index in _matches(items, name, wanted, context)]
    )


def reject(
    value: object, name: object, wanted: object = None, *, context: GuardedContext
) -> list[object] | None:
    """The items that `where` leaves out."""
    items = to_items(value, context)

    def rest() -> list[object]:
        matches = set(_matches(items, name, wanted, context))
        return [item for index, item in enumerate(items) if index not in matches]

    return _unless_without_properties(rest)


def first(value: object) -> object:
    """The first item of a list, or the first key of an object with its value."""
    if isinstance(value, dict):
        return next(([key, inner] for key, inner in value.items()), None)
    return value[0] if isinstance(value, list | range) and value else None


def last(value: object) -> object:
    """The last item of a list."""
    return value[-1] if isinstance(value, list | range) and value else None


def join(value: object, separator: object = " ", *, context: GuardedContext) -> str:
    """The printed items with a text between them."""
    glue, text = printed_text(separator, context), context.get_buffer()
    for index, item in enumerate(to_items(value, context)):
        if index:
            text.write(glue)
        for piece in printed_pieces(item):
            text.write(piece)
    return text.getvalue()


def map_(value: object, name: object, *, context: GuardedContext) -> list[object]:
    """A property of each item, nil for those that have none."""
    return [property_of(item, name) if has_properties(item) else None for item in to_items(value, context)]


def reverse(value: object, *, context: GuardedContext) -> list[object]:
    """The items from the last to the first."""
    return to_items(value, context)[::-1]


def size(value: object) -> int:
    """How many items, members or characters it has."""
    if isinstance(value, str | list | dict | range):
        return len(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(8, -(-value.bit_length() // 64) * 8)  # the bytes of a number, as in Ruby
    return 0


def slice_(value: object, start: object, length: object = None, *, context: GuardedContext) -> Any:
    """Some items of a list, or some characters of anything else; a negative start counts from the end."""
    whole = value if isinstance(value, list) else printed_text(value, context)
    begin = to_integer(start, context.limits)
    count = 1 if length is None or length is False else to_integer(length, context.limits)
    begin += len(whole) if begin < 0 else 0
    return whole[begin : begin + count] if begin >= 0 and count >= 0 else whole[:0]


def sort(value: object, name: object = None, *, context: GuardedContext) -> list[object] | None:
    """The items, or objects by a property, from the least to the greatest; nil comes last."""
    return _sorted(to_items(value, context), name, lambda keys: _comparable(keys, context))


def sort_natural(value: object, name: object = None, *, context: GuardedContext) -> list[object] | None:
    """The items, or objects by a property, as text without regard to the case of A to Z; nil comes last."""
    left_characters = context.limits.text_characters

    def folded(keys: list[object]) -> list[Any]:
        nonlocal left_characters
        texts = []
        for key in keys:
            text = printed_text(key, context)
            left_characters -= len(text)
            if left_characters < 0:
                raise limit_exceeded(f"a filter meets more than {context.limits.text_characters} characters")
            texts.append(text.translate(_LOWER))
        return texts

    return _sorted(to_items(value, context), name, folded)


def uniq(value: object, name: object = None, *, context: GuardedContext) -> list[object] | None:
    """The first of all items that are equal, or that have the same property."""
    items = to_items(value, context)
    if len(items) < 2:
        return items  # whether it has the property doesn't matter then, to Ruby neither

    def firsts() -> list[object]:
        found: dict[str, object] = {}
        for item in items:
            text = context.get_buffer()
            for piece in json_pieces(item if name is None else _property(item, name, context)):
                text.write(piece)
            found.setdefault(text.getvalue(), item)
        return list(found.values())

    return _unless_without_properties(firsts)


def _matches(items: list[object], name: object, wanted: object, context: GuardedContext) -> Iterator[int]:
    """The indexes of the items with a property, or whose property is the wanted one."""
    for index, item in enumerate(items):
        found = _property(item, name, context)
        if (
            same(found, wanted, context.check_time)
            if wanted is not None
            else found is not None and found is not False
        ):
            yield index


def _property(item: object, name: object, context: GuardedContext) -> object:
    context.check_time()
    if not has_properties(item):
        raise _NoPropertiesError
    return property_of(item, name)


def _unless_without_properties(ask: Callable[[], _Result]) -> _Result | None:
    try:
        return ask()
    except _NoPropertiesError:
        return None


def _sorted(
    items: list[object], name: object, comparable: Callable[[list[object]], list[Any]]
) -> list[object] | None:
    if name is not None and not all(map(has_properties, items)):
        return None
    if len(items) < 2:
        return items
    keys = items if name is None else [property_of(item, name) for item in items]
    ranked = [index for index, key in enumerate(keys) if key is not None]
    ranks = dict(zip(ranked, comparable([keys[index] for index in ranked]), strict=True))
    order = sorted(ranked, key=ranks.__getitem__)
    return [items[index] for index in order] + [items[index] for index, key in enumerate(keys) if key is None]


def _comparable(keys: list[object], context: GuardedContext) -> list[Any]:
    """The keys, if they are all texts or all numbers; equal ones of other types need no order."""
    for kind in (str, int | float):
        if all(isinstance(key, kind) and not isinstance(key, bool) for key in keys):
            return keys
    if all(same(key, keys[0], context.check_time) for key in islice(keys, 1, None)):
        return [0] * len(keys)
    raise NoResultError("values of different types have no order")


FILTERS: dict[str, Filter] = {
    "compact": compact,
    "concat": concat,
    "find": find,
    "find_index": find_index,
    "first": first,
    "has": has,
    "join": join,
    "last": last,
    "map": map_,
    "reject": reject,
    "reverse": reverse,
    "size": size,
    "slice": slice_,
    "sort": sort,
    "sort_natural": sort_natural,
    "uniq": uniq,
    "where": where,
}
