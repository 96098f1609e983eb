"""The three ways in which a merge node makes one output of its parents'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, model_validator

from app.nodes.registry import spellings_of
from app.nodes.settings import NodeSettings, capped, known_or, note, spelled
from app.workflow import NodeId, Output, data_of
from app.workflow.values import JsonObject

#: Most items that a merge gives.
MOST_ITEMS = 1000
#: Most unknown settings that a note names.
MOST_NOTED = 20
_BLANK_LINE = "\n\n"


class Merge(NodeSettings):
    """The settings of a merge node."""

    mode: Annotated[Literal["append", "combine", "key_join"], known_or("append")] = Field(
        default="append", validation_alias=spelled("mode", "strategy")
    )
    join_key: str = Field(default="", validation_alias=spelled("joinKey", "mergeKey"))
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
        if self.mode == "key_join" and not self.join_key:
            raise ValueError("key_join needs a joinKey")
        return self


def merge_branches(merge: Merge, parents: Sequence[tuple[NodeId, JsonObject]]) -> Output:
    """Merge what the completed parents gave, in the order of their edges."""
    branches = [_value(given) for _, given in parents]
    text = _BLANK_LINE.join(str(given["output"]) for _, given in parents if given.get("output"))
    if merge.mode == "append":
        data = _append(branches, merge.max_items)
    elif merge.mode == "combine":
        data = _combine(branches)
    else:
        data = _key_join(branches, merge)
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


def _key_join(branches: list[JsonValue], merge: Merge) -> JsonObject:
    """Each object of the first parent, completed by those of the others that have the same key."""
    left = _objects(branches[0]) if branches else []
    right = [item for branch in branches[1:] for item in _objects(branch)]
    by_key: dict[str, JsonObject] = {}
    for item in right:
        found = by_key.setdefault(str(item.get(merge.join_key)), {})
        found |= item
    items: list[JsonValue] = [{**by_key.get(str(item.get(merge.join_key)), {}), **item} for item in left]
    return {"items": items[: merge.max_items], "leftCount": len(left), "rightCount": len(right)}


def _items(branch: JsonValue) -> list[JsonValue]:
    if isinstance(branch, dict) and isinstance(branch.get("items"), list):
        branch = branch["items"]
    return branch if isinstance(branch, list) else [branch]


def _objects(branch: JsonValue) -> list[JsonObject]:
    return [item for item in _items(branch) if isinstance(item, dict)]
