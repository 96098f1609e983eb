"""JSON as Postgres takes it: without the characters that its `jsonb` refuses."""

from __future__ import annotations

import re
from typing import Any

#: NUL and lone surrogates: legal in Python's strings, an error (22P05) in jsonb.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """The same value with the replacement character for what jsonb refuses, in keys as in strings."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    return value
