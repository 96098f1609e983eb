"""The ways in which a merge node makes one output of its parents'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, model_validator

from app.nodes.logic.joining import JoinKind, join
from app.nodes.registry import spellings_of
from app.nodes.settings import NodeSettings, capped, known_or, note, spelled
from app.workflow import NodeId, Output, data_of
from app.workflow.values import JsonObject

#: Most items that a merge gives.
MOST_ITEMS = 1000
#: Most unknown settings that a note names.
MOST_NOTED = 20
_BLANK_LINE = "\n\n"


Mode = Literal[
    "append", "combine", "key_join", "outer_join", "inner_join", "left_join", "right_join", "full_join"
]

#: Modes that are joins, and what a join is in them; that of `key_join` is the node's `joinType`.
_JOINS: dict[str, JoinKind | None] = {
    "key_join": None,
    "outer_join": "full",
    "inner_join": "inner",
    "left_join": "left",
    "right_join": "right",
    "full_join": "full",
}


class Merge(NodeSettings):
    """The settings of a merge node; joins follow SQL, so that null equals nothing.

    Several matches give an item for each combination; one without a match has no fields of the other side.
    """

    mode: Annotated[Mode, known_or("append")] = Field(
        default="append", validation_alias=spelled("mode", "strategy")
    )
    join_key: str = Field(default="", validation_alias=spelled("joinKey", "mergeKey"))
    join_type: Annotated[JoinKind, known_or("left")] = "left"
    max_items: Annotated[int, capped(1, MOST_ITEMS)] = Field(default=MOST_ITEMS, ge=1, le=MOST_ITEMS)

    @model_validator(mode="before")
    @classmethod
    def _note_unknown(cls, raw: Any, info: ValidationInfo) -> Any:
        known = {key for name, field in cls.model_fields.items() for key in spellings_of(name, field)}
        unknown = sorted(raw.keys() - known) if isinstance(raw, dict) else []
        if unknown:
            note(info, f"passed over: {', '.join(unknown[:MOST_NOTED])}")
        return raw

    @model_validator(mode="after")
    def _needs_a_key(self) -> Merge:
        if self.mode in _JOINS and not self.join_key:
            raise ValueError(f"{self.mode} needs a joinKey")
        return self

    @property
    def join_kind(self) -> JoinKind:
        """Which items of a join stay that have no match."""
        return _JOINS.get(self.mode) or self.join_type


def merge_branches(merge: Merge, parents: Sequence[tuple[NodeId, JsonObject]]) -> Output:
    """Merge what the completed parents gave, in the order of their edges."""
    branches = [_value(given) for _, given in parents]
    text = _BLANK_LINE.join(str(given["output"]) for _, given in parents if given.get("output"))
    if merge.mode == "append":
        data = _append(branches, merge.max_items)
    elif merge.mode == "combine":
        data = _combine(branches)
    else:
        data = _join(branches, merge)
    return Output(text=text, artifact_kind="json", data=data)


def _value(given: JsonObject) -> JsonValue:
    data = data_of(given)
    return given.get("output") if data is None else data


def _append(branches: list[JsonValue], most: int) -> JsonObject:
    items = [item for branch in branches for item in _items(branch)]
    return {
        "items": items[:most],
        "branchCount": len(branches),
        "totalCount": len(items),
        "truncated": len(items) > most,
    }


def _combine(branches: list[JsonValue]) -> JsonObject:
    merged: JsonObject = {}
    for branch in branches:
        if isinstance(branch, dict):
            merged |= branch
    return {"merged": merged}


def _join(branches: list[JsonValue], merge: Merge) -> JsonObject:
    objects = [_objects(branch) for branch in branches]
    joined = join(objects, merge.join_key, merge.join_kind, merge.max_items)
    left, *right = map(len, objects or [[]])
    return {
        "items": [*joined.rows],
        "leftCount": left,
        "rightCount": sum(right),
        "totalCount": joined.total,
        "truncated": joined.total > len(joined.rows),
    }


def _items(branch: JsonValue) -> list[JsonValue]:
    if isinstance(branch, dict) and isinstance(branch.get("items"), list):
        branch = branch["items"]
    return branch if isinstance(branch, list) else [branch]


def _objects(branch: JsonValue) -> list[JsonObject]:
    return [item for item in _items(branch) if isinstance(item, dict)]
