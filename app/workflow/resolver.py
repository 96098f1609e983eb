"""Find values by the paths that people write into nodes, edges and templates: one meaning for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import JsonValue

from app.texts.answers import block_in
from app.workflow.outputs import data_of
from app.workflow.paths import DEFAULT_KEY, MISSING, Missing, segments, walk
from app.workflow.values import JsonObject

#: How a stored output is classified; data often has a `kind` of its own.
_CLASSES = frozenset({"kind", "mediaType"})


@dataclass(frozen=True)
class Source:
    """What a path is read in: a value, and the stored output that it comes from, where it comes from one.

    A path may begin with a key of the value itself; with `value`, `input` or `data`, which are all of the
    value; with a key of the stored output, such as `output` and `text`; or with the id of another node. The
    first that is there wins. What data may just lack is not looked for among the words that classify an
    output. Text that is JSON is read as JSON by a path that goes into it.
    """

    value: JsonValue
    row: JsonObject = field(default_factory=dict)
    outputs: Mapping[str, JsonObject] = field(default_factory=dict)

    @classmethod
    def of_output(cls, row: JsonObject, outputs: Mapping[str, JsonObject] | None = None) -> Source:
        """The source that a node's stored output is: its data, or its text where it has no data."""
        data = data_of(row)
        return cls(row.get(DEFAULT_KEY) if data is None else data, row, outputs or {})

    @cached_property
    def names(self) -> JsonObject:
        """Everything that a path or an expression may begin with."""
        whole: JsonObject = {"value": self.value, "input": self.value, "data": self.value}
        row = self.row if isinstance(self.value, str) else _without_classes(self.row)
        return {**whole, **row, **self._own}

    def find(self, path: str) -> JsonValue | Missing:
        """The value at a path; a blank path, and `$`, stand for all of it."""
        found = self.find_in_value(path)
        if isinstance(found, Missing):
            found = _find(self.names, path)
        return self._find_by_id(path) if isinstance(found, Missing) else found

    def find_in_value(self, path: str) -> JsonValue | Missing:
        """The same without the stored output: only what lies in the value itself."""
        found = _find(self._own, path)
        return walk(self.value, list(segments(path))) if isinstance(found, Missing) else found

    def _find_by_id(self, path: str) -> JsonValue | Missing:
        name, _, rest = path.strip().removeprefix("$.").partition(".")
        output = self.outputs.get(name.lower())
        return MISSING if output is None else Source.of_output(output).find(rest)

    @cached_property
    def _own(self) -> JsonObject:
        found = block_in(self.value) if isinstance(self.value, str) else self.value
        return found if isinstance(found, dict) else {}


def value_at(row: JsonObject, key: str) -> JsonValue:
    """What an edge or a reference `[[node.path]]` takes of a stored output.

    Keys of the stored output come first, and a dotted path may leave out `data`, as on the platform; so
    `output` is always all of it. What leads nowhere gives all of it too: existing workflows rely on that.
    """
    key = key.strip() or DEFAULT_KEY
    found = _find(row, key)
    if isinstance(found, Missing) and ("." in key or "[" in key):
        found = walk(row.get("data"), list(segments(key)))
    if isinstance(found, Missing):
        found = Source.of_output(row).find(key)
    return row.get(DEFAULT_KEY, "") if isinstance(found, Missing) else found


def _without_classes(row: JsonObject) -> JsonObject:
    return {key: value for key, value in row.items() if key not in _CLASSES}


def _find(names: JsonObject, path: str) -> JsonValue | Missing:
    """A name that has dots itself is found before the path that it reads like."""
    for key in (path, path.strip()):
        if key in names:
            return names[key]
    steps = list(segments(path))
    return walk(names, steps) if steps else MISSING
