"""Which types of nodes exist, what each declares of itself, and which are known but refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import FieldKind, Output

Config = TypeVar("Config", bound=BaseModel)


class Effect(StrEnum):
    """What a node does to the world; it decides what a repeated try may do."""

    NONE = "computes"
    READS = "reads"
    #: Writes rows or files of the platform; done again, it leaves the same.
    WRITES = "writes"
    #: Tells or asks somebody outside, who sees each time it is done.
    SENDS = "sends"
    #: Asks a model, which costs.
    SPENDS = "spends"
    #: Puts the run down until a time comes, a person answers, or other work is done.
    WAITS = "waits"


@dataclass(frozen=True)
class NodeType:
    """A type of node; `gives` are the keys of its output's data, `check` finds what a model can't say.

    `check` sees the settings before the run starts and returns what is wrong, in words for the author;
    `needs` tells what the deployment lacks for any node of the type. A type that catches runs after parents
    that failed too, unless its own settings say that it fails with them. `makes` is what the node's model
    must make, where that is a medium.
    """

    name: str
    family: str
    summary: str
    config: type[BaseModel]
    gives: tuple[str, ...]
    effect: Effect
    check: Callable[[Any], str | None] | None
    needs: Callable[[], str | None] | None
    catches: bool
    run: Callable[[Task[Any]], Output]
    makes: str | None = None


_types: dict[str, NodeType] = {}
_refusals: dict[str, str] = {}


def node_type(
    *names: str,
    config: type[Config] = NodeSettings,  # type: ignore[assignment]  # a default can't narrow a type variable
    gives: tuple[str, ...] = (),
    effect: Effect = Effect.NONE,
    check: Callable[[Config], str | None] | None = None,
    needs: Callable[[], str | None] | None = None,
    catches: bool = False,
    makes: str | None = None,
) -> Callable[[Callable[[Task[Config]], Output]], Callable[[Task[Config]], Output]]:
    """Make a function a type of node, under one name or several; its docstring's first line describes it."""

    def register(run: Callable[[Task[Config]], Output]) -> Callable[[Task[Config]], Output]:
        summary = (run.__doc__ or "").strip().partition("\n")[0]
        family = run.__module__.removeprefix("app.nodes.").partition(".")[0]
        for name in names:
            if name in _types or name in _refusals:
                raise ValueError(f"the node type {name} exists already")
            kind = NodeType(name, family, summary, config, gives, effect, check, needs, catches, run, makes)
            _types[name] = kind
        return run

    return register


def refuse(reason: str, *names: str) -> None:
    """Know types by name only to refuse them, before a run starts, with a reason in words for the author."""
    for name in names:
        if name in _types or name in _refusals:
            raise ValueError(f"the node type {name} exists already")
        _refusals[name] = reason


def node_types() -> Mapping[str, NodeType]:
    """All types that can run, by name."""
    return MappingProxyType(_types)


def refusals() -> Mapping[str, str]:
    """The types that are known and refused, each with the reason."""
    return MappingProxyType(_refusals)


def catching_types() -> frozenset[str]:
    """The types that deal with failures of the nodes before them."""
    return frozenset(name for name, kind in _types.items() if kind.catches)


@cache
def field_kinds() -> Mapping[str, Mapping[str, FieldKind]]:
    """What each key of each type's settings holds, for reading forms that store everything as text.

    Asked for when all types are there: it is found out once.
    """
    return {name: dict(_kinds_of(kind.config)) for name, kind in _types.items()}


def spellings_of(name: str, field: FieldInfo) -> list[str]:
    """Every key under which a field may be stored."""
    alias = field.validation_alias or field.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
    return [str(choice) for choice in dict.fromkeys([*choices, name])]


def _kinds_of(config: type[BaseModel]) -> Iterator[tuple[str, FieldKind]]:
    for name, field in config.model_fields.items():
        kind = _kind_of(field.annotation)
        if kind is not None:
            yield from ((spelling, kind) for spelling in spellings_of(name, field))


def _kind_of(annotation: Any) -> FieldKind | None:
    """The kind that an annotation means; None where a value may be of several kinds."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    origin = get_origin(annotation)
    if origin is None or origin in (list, tuple, dict):
        if annotation in (int, float):
            return FieldKind.NUMBER
        if origin is list and options == [str]:
            return FieldKind.TEXTS
        plain = {str: FieldKind.TEXT, bool: FieldKind.BOOLEAN, list: FieldKind.JSON, dict: FieldKind.JSON}
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        return FieldKind.JSON if is_model or origin in (list, tuple, dict) else plain.get(annotation)
    return _kind_of(options[0]) if len(options) == 1 else None
