"""Joins of lists of objects by a key, as SQL's `JOIN … USING (key)` has them.

What is null, or isn't there, equals nothing. Several matches give a row for each combination. Numbers equal
as numbers, and a number equals the text that spells it, since forms and models write ids either way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Literal

from pydantic import JsonValue

from app.workflow.values import JsonObject, stringify

JoinKind = Literal["inner", "left", "right", "full"]
_Rows = list[JsonObject]


@dataclass(frozen=True)
class Joined:
    """The first rows of a join, and how many it has."""

    rows: list[JsonObject]
    total: int


def join(branches: Sequence[_Rows], key: str, kind: JoinKind, most: int) -> Joined:
    """Join lists from the first to the last, at most `most` rows of it.

    Rows keep the order of the first list, those of a right join that of the last. Where both sides have a
    field, the earlier list's counts; fields of a side that has no match are left out.
    """
    plan = _Join(branches, key, kind)
    rows = (_merged(combination) for parts in plan.parts() for combination in product(*parts))
    total = sum(math.prod(map(len, parts)) for parts in plan.parts())
    return Joined(list(islice(rows, most)), total)


class _Join:
    def __init__(self, branches: Sequence[_Rows], key: str, kind: JoinKind) -> None:
        self._branches, self._key, self._kind = branches, key, kind
        self._groups = [self._grouped(rows) for rows in branches]

    def parts(self) -> Iterator[list[_Rows]]:
        """For each row that others are joined to, one list of rows for each branch that takes part."""
        last = len(self._branches) - 1
        leading = {"right": [last], "full": range(last + 1)}.get(self._kind, [0])
        for place in leading if self._branches else []:
            for row in self._branches[place]:
                key = _comparable(row.get(self._key))
                if place == 0 or self._kind == "right" or not self._has_earlier(key, place):
                    yield from self._around(row, key, place)

    def _around(self, row: JsonObject, key: Hashable | None, place: int) -> Iterator[list[_Rows]]:
        found = [[] if key is None else group.get(key, []) for group in self._groups]
        if self._kind == "right":
            before: list[_Rows] = []
            for rows in reversed(found[:place]):
                if not rows:
                    break
                before.insert(0, rows)
            yield [*before, [row]]
        elif self._kind != "inner" or all(found):
            yield [[row], *(rows for rows in found[place + 1 :] if rows)]

    def _has_earlier(self, key: Hashable | None, place: int) -> bool:
        return key is not None and any(key in group for group in self._groups[:place])

    def _grouped(self, rows: _Rows) -> dict[Hashable, _Rows]:
        groups: dict[Hashable, _Rows] = {}
        for row in rows:
            key = _comparable(row.get(self._key))
            if key is not None:
                groups.setdefault(key, []).append(row)
        return groups


def _comparable(value: JsonValue) -> Hashable | None:
    """What equals what: None for null, which equals nothing."""
    if value is None:
        return None
    if isinstance(value, dict | list):
        return ("structure", json.dumps(_plain(value), sort_keys=True))
    if isinstance(value, bool):
        return ("boolean", value)
    return ("text", stringify(value))


def _plain(value: JsonValue) -> JsonValue:
    """Numbers inside of a structure written alike."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _merged(rows: Sequence[JsonObject]) -> JsonObject:
    merged: JsonObject = {}
    for row in rows:
        merged |= {name: value for name, value in row.items() if name not in merged}
    return merged
