"""Check a node before its run starts: its type, its settings, and what the deployment lends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pydantic import BaseModel, JsonValue, ValidationError

from app.nodes.registry import Effect, NodeType, node_types, refusals, spellings_of
from app.nodes.settings import NOTES
from app.providers.catalog import registered_kind
from app.workflow import LENS, Node, Problem
from app.workflow.values import JsonObject, compact_json

#: What begins a reference to another node's output, or to a value of the run.
_REFERENCES = ("[[", "{{")


def problems_of(node: Node) -> Iterator[Problem]:
    """What is wrong with a node; a value that names other nodes' outputs is only known when the node runs."""
    if node.type in refusals():
        reason = refusals()[node.type]
        yield Problem(
            "refused_node_type", f"{node.title} has the type '{node.type}', which {reason}", (node.id,)
        )
    kind = node_types().get(node.type)
    for complaint in (*_complaints(kind, node.config.settings), *_asked(kind, node)) if kind else ():
        yield Problem("invalid_config", f"{node.title} ({node.type}): {complaint}", (node.id,))


def notes_of(node: Node) -> Iterator[Problem]:
    """What a node's type passes over in its settings, as far as they are known before it runs."""
    kind, notes = node_types().get(node.type), list[str]()
    # What is still open may be missing here, and is none of the notes.
    with suppress(ValidationError):
        if kind:
            kind.config.model_validate(_closed(node.config.settings), context={NOTES: notes})
    for told in notes:
        yield Problem("ignored_setting", f"{node.title} ({node.type}): {told}", (node.id,))


def complaints_about(error: ValidationError) -> list[str]:
    """What a model of settings says of values, without the values: they may hold a secret."""
    return sorted(
        {
            f"{'.'.join(str(step) for step in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        }
    )


def _asked(kind: NodeType, node: Node) -> Iterator[str]:
    """What is wrong with the model that a node asks, and with how that is moderated."""
    moderation = node.config.moderation
    if moderation != "off" and kind.effect is not Effect.SPENDS:
        yield "moderation: only what models are asked and what they answer is moderated"
    if moderation in ("output", "both") and kind.makes:
        yield "moderation: what a model draws or says is not moderated"
    asks_for_one_kind = kind.effect is Effect.SPENDS and kind.name != LENS
    makes = registered_kind(node.config.model_id or "") if asks_for_one_kind else None
    if makes and ("audio" if makes == "music" else makes) != (kind.makes or "text"):
        yield f"modelId: {node.config.model_id} makes {makes}"


def _complaints(kind: NodeType, settings: JsonObject) -> Iterator[str]:
    lacking = kind.needs() if kind.needs else None
    if lacking:
        yield lacking
        return
    known = _closed(settings)
    open_keys = settings.keys() - known.keys()
    try:
        config = kind.config.model_validate(known)
    except ValidationError as error:
        told = [
            problem
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
            if not _names_any(kind.config, problem["loc"], open_keys)
        ]
        yield from sorted(
            {f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}" for problem in told}
        )
        return
    found = kind.check(config) if kind.check and not open_keys else None
    if found:
        yield found


def _closed(settings: JsonObject) -> JsonObject:
    """The settings that are known before the node runs."""
    return {key: value for key, value in settings.items() if not _is_open(value)}


def _is_open(value: JsonValue) -> bool:
    text = value if isinstance(value, str) else compact_json(value)
    return any(mark in text for mark in _REFERENCES)


def _names_any(config: type[BaseModel], place: tuple[int | str, ...], keys: set[str]) -> bool:
    """Whether an error is about a field that one of the keys fills."""
    if not place:
        return bool(keys)
    for name, field in config.model_fields.items():
        spellings = spellings_of(name, field)
        if place[0] in spellings:
            return not keys.isdisjoint(spellings)
    return False
