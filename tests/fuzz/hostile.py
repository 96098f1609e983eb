"""What the other side may say: any JSON, a good answer with something wrong in it, any bytes at all."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

#: Values that parsers stumble over, whatever they expect.
AWKWARD = st.sampled_from(
    [None, True, "", "\x00", "\ud800", "0", -1, 2**63, 10**400, 1e308, [], {}, [[]], {"": None}, "9" * 400]
).map(copy.deepcopy)  # for what is drawn is changed
JSON = st.recursive(
    AWKWARD | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
#: Deeper than Python's stack, and than any honest answer.
DEEP = st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"[" * 5_000 + b"]" * 5_000])
RETRY_AFTER = st.sampled_from(
    ["", "-1", "1e999", "9" * 400, "Mon, 99 Foo 2026", "Fri, 31 Dec 9999 23:59:59 -9999"]
)


@st.composite
def spoiled(draw: st.DrawFn, good: Any) -> Any:
    """A good value of which up to three parts are something else, or are not there."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            return draw(JSON)
        inner, key = draw(st.sampled_from(places))
        if isinstance(inner, dict) and draw(st.booleans()):
            del inner[key]
        else:
            inner[key] = draw(JSON)
    return value


def bodies(good: Any) -> st.SearchStrategy[bytes]:
    """A body that should have been like this one, or nearly is."""
    return (
        spoiled(good).map(as_bytes)
        | JSON.map(as_bytes)
        | st.binary(max_size=64)
        | DEEP
        | st.integers(0, 40).map(lambda cut: as_bytes(good)[:cut])
    )


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            yield from _places(value[key])
