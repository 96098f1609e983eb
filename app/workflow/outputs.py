"""What a node's work gave, and the `output_data` it is stored as and read back from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from app.texts.answers import block_in
from app.texts.json_text import is_shallow
from app.workflow.results import CAUGHT_KEY, HALT_KEY, VARIABLES_KEY, NodeFailure
from app.workflow.values import JsonObject, compact_json

#: Largest stored output of one node, as bytes of its JSON.
LARGEST_OUTPUT_BYTES = 4 * 1024 * 1024

_MEDIA = ("image", "video", "audio")
_RESERVED = frozenset({VARIABLES_KEY, HALT_KEY, CAUGHT_KEY})
#: Keys of a stored output that describe it and are not data of the node's own.
_DESCRIPTIVE = _RESERVED | {
    *("mediaType", "output", "text", "url", "mimeType", "kind", "artifactKind"),
    *("modelId", "inputTokens", "outputTokens", "durationMs"),
}
#: What Postgres can't store in jsonb: NUL, and halves of UTF-16 pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Output:
    """What a node gave: text or the `url` of a medium, and whatever else its type has to tell.

    `kind` and `artifact_kind` come from the output contract where there is one. `data` is the structured
    part, which other nodes find under its own keys. `variables`, `halt` and `caught`, the ids of nodes whose
    failures are dealt with, speak to the engine.
    """

    text: str = ""
    url: str | None = None
    mime_type: str | None = None
    media_type: str = "text"
    kind: str | None = None
    artifact_kind: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    data: JsonObject = field(default_factory=dict)
    variables: JsonObject = field(default_factory=dict)
    halt: bool = False
    caught: tuple[str, ...] = ()


def stored_output(output: Output) -> JsonObject:
    """The `output_data` of a node, keys in the order that readers know.

    Raises `NodeFailure`: `output_too_deep`, or `output_too_large` over `LARGEST_OUTPUT_BYTES`.
    """
    artifact_kind = output.artifact_kind or output.media_type
    text = output.text or output.url or ""
    stored: JsonObject = {"mediaType": artifact_kind if artifact_kind in _MEDIA else "text"}
    stored |= {"output": text, "text": text}
    if output.url is not None:
        stored |= {"url": output.url, "mimeType": output.mime_type}
    stored |= _without_reserved(output.metadata)
    stored |= {"kind": output.kind or _kind(output.media_type), "artifactKind": artifact_kind}
    stored |= _without_reserved(output.data)
    if output.variables:
        stored[VARIABLES_KEY] = output.variables
    if output.halt:
        stored[HALT_KEY] = True
    if output.caught:
        stored[CAUGHT_KEY] = list(output.caught)
    return _storable(stored)


def data_of(output_data: JsonObject) -> JsonValue:
    """The structured value of a stored output: its text where that is JSON, else the node's own keys.

    Text that is a JSON object or list counts, also after a model's thinking, in a code fence, or on lines of
    its own. A node whose artifact is JSON says with its own keys what it gave; its text is the same again,
    for those who read text. None where a node gave nothing but text.
    """
    own: JsonObject = {key: value for key, value in output_data.items() if key not in _DESCRIPTIVE}
    if own and output_data.get("artifactKind") == "json":
        return own
    text = output_data.get("output")
    if isinstance(text, str):
        found = block_in(text)
        if found is not None:
            return found
    return own or None


def _kind(media_type: str) -> str:
    return media_type if media_type in _MEDIA else "text"


def _without_reserved(given: JsonObject) -> JsonObject:
    return {key: value for key, value in given.items() if key not in _RESERVED}


def _storable(stored: JsonObject) -> JsonObject:
    if not is_shallow(stored):
        raise NodeFailure("output_too_deep")
    clean = cast(JsonObject, _clean(stored))
    if len(compact_json(clean).encode()) > LARGEST_OUTPUT_BYTES:
        raise NodeFailure("output_too_large")
    return clean


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("", key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    # NaN and the infinities have no place in JSON; every other number compares with itself
    return None if isinstance(value, float) and value - value != 0 else value
