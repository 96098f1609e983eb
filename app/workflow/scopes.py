"""Variables that nodes set, and which of them a later node sees.

A node sees what the nodes it waited for have set or seen, never what happens beside it, so the order in
which parallel nodes end makes no difference. Where several set one variable the one later in the graph wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from pydantic import JsonValue

from app.workflow.values import JsonObject

#: Each variable's value with its setter's place in the graph's order. Scopes are shared, never changed.
Scope: TypeAlias = Mapping[str, tuple[int, JsonValue]]

EMPTY: Scope = {}


def joined(scopes: Iterable[Scope]) -> Scope:
    """What a node sees that waited for nodes with these scopes."""
    filled = list({id(scope): scope for scope in scopes if scope}.values())
    if len(filled) < 2:
        return filled[0] if filled else EMPTY
    together = dict(filled[0])
    for scope in filled[1:]:
        for name, setting in scope.items():
            if name not in together or together[name][0] < setting[0]:
                together[name] = setting
    return together


def extended(scope: Scope, variables: JsonObject, place: int) -> Scope:
    """The scope behind a node that sets these variables."""
    if not variables:
        return scope
    return {**scope, **{name: (place, value) for name, value in variables.items()}}


def values_of(scope: Scope) -> JsonObject:
    """The variables by name."""
    return {name: value for name, (_, value) in scope.items()}
