"""JSON schemas of strangers: checked before they are used, and applied within bounds.

A schema may not fetch anything, and its regular expressions are matched in linear time. What could still
make one run for ever is counted or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from jsonschema.protocols import Validator
from jsonschema_specifications import REGISTRY
from pydantic import JsonValue
from referencing.exceptions import Unresolvable

from app.nodes.data.values import identity
from app.workflow.language.patterns import matches
from app.workflow.values import JsonObject

#: Most references that are followed for one value.
MOST_REFERENCES = 20_000
#: Most complaints that are told.
MOST_COMPLAINTS = 5
#: Keywords whose patterns the library would match itself, or whose references can't be counted.
_REFUSED = frozenset({"patternProperties", "$dynamicRef", "$recursiveRef"})


class SchemaTooCostlyError(ValueError):
    """A value can't be checked within bounds, or a reference leads nowhere."""


def complaint_about_schema(schema: JsonObject) -> str | None:
    """Why a schema can't be used; None if it can."""
    refused = sorted(_REFUSED.intersection(_keys(schema)))
    if refused:
        return f"{refused[0]} is not supported"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"no valid JSON schema at {error.json_path}"
    return None


def complaints(schema: JsonObject, value: JsonValue) -> list[str]:
    """Where a value isn't what the schema says, as places and rules, never the value itself.

    Raises `SchemaTooCostlyError`.
    """
    checker = _bounded_class()(schema, registry=REGISTRY)
    found: list[str] = []
    try:
        for error in checker.iter_errors(value):
            found.append(f"{error.json_path}: {error.validator}")
            if len(found) == MOST_COMPLAINTS:
                break
    except Unresolvable:
        raise SchemaTooCostlyError("a reference of the schema leads nowhere") from None
    except RecursionError:
        raise SchemaTooCostlyError("the schema refers to itself without end") from None
    return sorted(set(found))


def _bounded_class() -> type[Validator]:
    followed = 0

    def reference(validator: Any, ref: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        nonlocal followed
        followed += 1
        if followed > MOST_REFERENCES:
            raise SchemaTooCostlyError("the schema follows too many references")
        yield from Draft202012Validator.VALIDATORS["$ref"](validator, ref, instance, schema)

    bounded: type[Validator] = validators.extend(  # type: ignore[no-untyped-call]  # the library has no types
        Draft202012Validator, {"$ref": reference, "pattern": _pattern, "uniqueItems": _unique}
    )
    return bounded


def _pattern(_: Any, pattern: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not matches(pattern, instance):
        yield ValidationError("does not match")


def _unique(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({identity(item) for item in instance}) < len(instance):
        yield ValidationError("has the same item twice")


def _keys(schema: JsonValue) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema
    if isinstance(schema, dict | list):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            yield from _keys(inner)
