"""Put lists in order: `sort` and `deduplicate`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, items_of, listed, structured
from app.nodes.data.values import find_in_item, identity, rank
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, known_or, spelled
from app.nodes.task import Task
from app.workflow import Output


def _direction(raw: object) -> object:
    words = {"ascending": "asc", "descending": "desc", "": "asc"}
    return words.get(raw.strip().lower(), raw.strip().lower()) if isinstance(raw, str) else raw


Direction = Annotated[Literal["asc", "desc"], BeforeValidator(_direction), known_or("asc")]


class SortKey(NodeSettings):
    """A field to sort by; an empty one means the item itself."""

    field: str = Field(default="", validation_alias=spelled("field", "path", "key"))
    direction: Direction = Field(default="asc", validation_alias=spelled("direction", "order"))


def _key_of(text: str) -> dict[str, str]:
    """`price`, `price desc`, `price:desc` and `-price` are all ways to name a key."""
    name, _, direction = text.strip().replace(":", " ").partition(" ")
    if name.startswith("-"):
        name, direction = name[1:], "desc"
    return {"field": name, "direction": direction.strip()}


class Sort(ListSettings):
    """Which fields to sort by, the first first; items that lack a field come last."""

    field: str = ""
    direction: Direction = "asc"
    secondary_field: str = ""
    sort_by: list[SortKey] = Field(default_factory=list)

    @field_validator("sort_by", mode="before")
    @classmethod
    def _read_names(cls, raw: object) -> object:
        if isinstance(raw, str):
            raw = [name for name in raw.split(",") if name.strip()]
        elif isinstance(raw, dict):
            raw = [raw]
        return (
            [_key_of(key) if isinstance(key, str) else key for key in raw] if isinstance(raw, list) else raw
        )

    @property
    def keys(self) -> list[SortKey]:
        """All fields in order of their weight."""
        named = [self.field, *([self.secondary_field] if self.secondary_field else [])]
        plain = [SortKey(field=name, direction=self.direction) for name in named if name]
        return [*plain, *self.sort_by] or [SortKey(direction=self.direction)]


@node_type("sort", config=Sort, gives=("items", "count", "truncated"))
def sort(task: Task[Sort]) -> Output:
    """Put the items of a list in order; equal ones keep theirs."""
    items = items_of(task, task.config)
    for key in reversed(task.config.keys):
        items = _sorted_by(items, key)
    return listed(items, task.config)


def _sorted_by(items: Iterable[JsonValue], key: SortKey) -> list[JsonValue]:
    found = [(find_in_item(item, key.field), item) for item in items]
    present = [(rank(value), item) for value, item in found if value is not None]
    present.sort(key=lambda pair: pair[0], reverse=key.direction == "desc")
    return [item for _, item in present] + [item for value, item in found if value is None]


class Deduplicate(ListSettings):
    """The fields whose values make an item the same as another; without any, the whole item."""

    keys: list[str] = Field(default_factory=list, validation_alias=spelled("keys", "key", "keyPath"))
    keep: Annotated[Literal["first", "last"], known_or("first")] = "first"

    @model_validator(mode="before")
    @classmethod
    def _read_keep(cls, raw: Any) -> Any:
        """The builder's form has a switch for it."""
        keeps_first = raw.get("keepFirst", raw.get("keep_first")) if isinstance(raw, dict) else None
        return raw if keeps_first is None else {"keep": "first" if keeps_first else "last", **raw}

    @field_validator("keys", mode="before")
    @classmethod
    def _read_names(cls, raw: object) -> object:
        return [key.strip() for key in raw.split(",") if key.strip()] if isinstance(raw, str) else raw


@node_type("deduplicate", config=Deduplicate, gives=("items", "inputCount", "outputCount", "removed"))
def deduplicate(task: Task[Deduplicate]) -> Output:
    """Keep one of all items of a list that are the same."""
    config = task.config
    items = items_of(task, config)
    kept = _distinct(items, config)
    given = kept[: config.max_items]
    return structured(
        {
            "items": given,
            "inputCount": len(items),
            "outputCount": len(given),
            "removed": len(items) - len(kept),
            "truncated": len(kept) > len(given),
        }
    )


def _distinct(items: list[JsonValue], config: Deduplicate) -> list[JsonValue]:
    keeps_last = config.keep == "last"
    by_identity: dict[str, JsonValue] = {}
    for item in reversed(items) if keeps_last else items:
        values: JsonValue = [find_in_item(item, key) for key in config.keys] if config.keys else item
        by_identity.setdefault(identity(values), item)
    distinct = list(by_identity.values())
    return distinct[::-1] if keeps_last else distinct
