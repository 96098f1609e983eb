"""What authors of workflows may know of each type of node, from the types themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, JsonValue
from pydantic.alias_generators import to_snake

from app.nodes.registry import NodeType, node_types, refusals, spellings_of

#: Limits of a setting, as JSON schemas call them.
_LIMITS = (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "at most so many characters:"))


class Setting(BaseModel):
    """One key of a type's settings; `others` are further names under which it is read.

    Every name is also read in snake_case.
    """

    name: str
    others: list[str]
    kind: str
    required: bool
    default: JsonValue = None
    limits: str = ""


class Entry(BaseModel):
    """One type; a refused one has nothing but its name and the reason."""

    name: str
    family: str = ""
    does: str = ""
    effect: str = ""
    about: str = ""
    settings: list[Setting] = []
    gives: list[str] = []
    refused: str | None = None


def catalogue() -> list[Entry]:
    """Every type that is known, by family and name; those that are refused come last."""
    known = sorted(node_types().values(), key=lambda kind: (kind.family, kind.name))
    refused = [Entry(name=name, refused=reason) for name, reason in sorted(refusals().items())]
    return [*map(_entry, known), *refused]


def lacking() -> dict[str, str]:
    """What this deployment lacks for types that it doesn't offer, by name; reads the settings."""
    asked = {name: kind.needs() for name, kind in node_types().items() if kind.needs}
    return {name: lack for name, lack in asked.items() if lack}


def _entry(kind: NodeType) -> Entry:
    about = (kind.config.__doc__ or "").strip()
    return Entry(
        name=kind.name,
        family=kind.family,
        does=kind.summary,
        effect=kind.effect.value,
        about=" ".join(about.split()),
        settings=list(_settings(kind.config)),
        gives=list(kind.gives),
    )


def _settings(config: type[BaseModel]) -> Iterator[Setting]:
    schema = config.model_json_schema(by_alias=False)
    definitions, required = schema.get("$defs", {}), schema.get("required", [])
    for name, field in config.model_fields.items():
        described = schema["properties"][name]
        first, *more = spellings_of(name, field)
        others = [other for other in more if to_snake(first) != other and to_snake(other) != other]
        others += [other for other in more if "_" not in other and other.islower() and other != first]
        yield Setting(
            name=first,
            others=list(dict.fromkeys(other for other in others if other != first)),
            kind=_kind(described, definitions),
            required=name in required,
            default=described.get("default"),
            limits=", ".join(_limits(described)),
        )


def _kind(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a value is, in a word or two, from the JSON schema of its field."""
    if "$ref" in described:
        described = definitions[described["$ref"].rpartition("/")[2]]
    if "enum" in described:
        return " | ".join(f"`{choice}`" for choice in described["enum"])
    if "const" in described:
        return f"`{described['const']}`"
    if "anyOf" in described:
        kinds = [_kind(option, definitions) for option in described["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if described.get("type") == "array":
        items = described.get("items") or {}
        return f"list of {_kind(items, definitions)}" if items else "list"
    return {"string": "text", "integer": "whole number", None: "any"}.get(
        described.get("type"), str(described.get("type"))
    )


def _limits(described: Mapping[str, Any]) -> Iterator[str]:
    options = [described, *described.get("anyOf", [])]
    for key, words in _LIMITS:
        found = next((option[key] for option in options if key in option), None)
        if found is not None:
            yield f"{words} {found}"
