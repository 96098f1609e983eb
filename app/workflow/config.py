"""A node's config as the engine reads it, whichever of its writers stored it.

The builder stores form fields as text under `param_overrides["__field"]`, imported documents only
`node_type`, seeds plain keys at the top level; all become one shape here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import JsonValue as Json

from app.workflow.coercion import FieldKinds, coerce
from app.workflow.merges import MergeStrategy
from app.workflow.retries import RetryPolicy
from app.workflow.statuses import ParentFailurePolicy
from app.workflow.values import JsonObject

#: What marks a form field among the overrides, as against a value for a label.
FIELD_PREFIX = "__"
#: Longest time limit of a node: a day.
LONGEST_TIMEOUT_MS = 86_400_000

_OVERRIDES = "param_overrides"


def _blank_to_none(value: object) -> object:
    return value.strip() or None if isinstance(value, str) else value


def _null_to_empty(value: object) -> object:
    return {} if value is None else value


Word = Annotated[str | None, BeforeValidator(_blank_to_none)]


class NodeConfig(BaseModel):
    """What the engine itself reads of a node's config, and everything else in `settings`."""

    model_config = ConfigDict(frozen=True)

    node_type: Word = Field(default=None, validation_alias=AliasChoices("nodeType", "node_type"))
    model_id: Word = Field(default=None, validation_alias=AliasChoices("modelId", "model_id"))
    retry: Annotated[RetryPolicy, BeforeValidator(_null_to_empty)] = RetryPolicy()
    timeout_ms: int = Field(
        default=60_000, gt=0, le=LONGEST_TIMEOUT_MS, validation_alias=AliasChoices("timeoutMs", "timeout_ms")
    )
    on_parent_failure: ParentFailurePolicy = Field(
        default=ParentFailurePolicy.SKIP,
        validation_alias=AliasChoices("onParentFailure", "on_parent_failure"),
    )
    merge: MergeStrategy = MergeStrategy.LAST_WRITE_WINS
    moderation: Literal["off", "input", "output", "both"] = "off"
    #: Nobody reads it, so it may be anything.
    memory_write_policy: Json = Field(
        default="on_success", validation_alias=AliasChoices("memoryWritePolicy", "memory_write_policy")
    )
    delegation_policy: Literal["auto", "approval_required", "forbidden"] = Field(
        default="auto", validation_alias=AliasChoices("delegationPolicy", "delegation_policy")
    )
    #: Values for labels by their stored keys; they win over edges and root inputs.
    param_overrides: dict[str, Json] = Field(default_factory=dict)
    #: What the node's own type reads: every other key, typed.
    settings: dict[str, Json] = Field(default_factory=dict)


def _spellings() -> frozenset[str]:
    keys: set[str] = set()
    for name, field in NodeConfig.model_fields.items():
        alias = field.validation_alias
        keys |= {str(choice) for choice in alias.choices} if isinstance(alias, AliasChoices) else {name}
    return frozenset(keys) - {"settings"}


#: Every spelling of every key that belongs to the engine.
_ENGINE_KEYS = _spellings()


def read_config(raw: JsonObject, kinds: FieldKinds) -> NodeConfig:
    """Parse a stored config; raises pydantic's `ValidationError` where a key of the engine is unreadable."""
    overrides = raw.get(_OVERRIDES) or {}
    fields = overrides if isinstance(overrides, dict) else {}
    engine: dict[str, object] = {_OVERRIDES: overrides}
    for key in _ENGINE_KEYS - {_OVERRIDES}:
        # A label may be called `merge` too, so the engine reads only the form fields among the overrides.
        value = raw.get(key, fields.get(FIELD_PREFIX + key))
        if value is not None and value != "":
            engine[key] = value if key in _WORDS else coerce(value, None)
    settings: JsonObject = {key: value for key, value in raw.items() if key not in _ENGINE_KEYS}
    for key, value in fields.items():
        if key.removeprefix(FIELD_PREFIX) not in _ENGINE_KEYS:
            settings.setdefault(key.removeprefix(FIELD_PREFIX), value)
    config = NodeConfig.model_validate(engine)
    known = kinds.get(config.node_type or "", {})
    typed = {key: coerce(value, known.get(key)) for key, value in settings.items()}
    return config.model_copy(update={"settings": typed})


#: Keys whose values stay text, even where they look like a number.
_WORDS = frozenset({"nodeType", "node_type", "modelId", "model_id"})
