"""References from a node's config to the output of other nodes: `[[node.path]]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from app.workflow.config import NodeConfig
from app.workflow.resolver import value_at
from app.workflow.values import JsonObject, stringify

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_-]{1,64})\.((?:[A-Za-z0-9_.-]|\[[A-Za-z0-9_-]{1,64}\]){1,500})\]\]")
#: Other types name nodes by `{{node.path}}`, by a bare `node.path`, or inside code.
_MENTION = re.compile(
    r"(?:\[\[|\{\{)\s*([A-Za-z0-9_-]+)|\b([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b", re.IGNORECASE
)


def mentioned_nodes(config: NodeConfig) -> list[str]:
    """What may be ids of other nodes in a config, each once; most often there are none."""
    texts = [*_texts(config.param_overrides), *_texts(config.settings)]
    return list(dict.fromkeys((m[1] or m[2]).lower() for text in texts for m in _MENTION.finditer(text)))


def fill_text(text: str, outputs: Mapping[str, JsonObject], escape: Callable[[str], str] = str) -> str:
    """Replace references by the text of what they name; those without a completed node by nothing.

    `escape` makes what is put in harmless at its place.
    """
    return _REFERENCE.sub(lambda reference: escape(stringify(_value(reference, outputs))), text)


def fill(value: JsonValue, outputs: Mapping[str, JsonObject]) -> JsonValue:
    """Replace references anywhere inside a value; a text that is one reference becomes the value itself."""
    if isinstance(value, dict):
        return {key: fill(inner, outputs) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, outputs) for inner in value]
    if not isinstance(value, str) or "[[" not in value:
        return value
    alone = _REFERENCE.fullmatch(value.strip())
    return _value(alone, outputs) if alone else fill_text(value, outputs)


def _value(reference: re.Match[str], outputs: Mapping[str, JsonObject]) -> JsonValue:
    output_data = outputs.get(reference[1].lower())
    return "" if output_data is None else value_at(output_data, reference[2])


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
