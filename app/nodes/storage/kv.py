"""Values that a workflow keeps from run to run, under keys of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, model_validator

from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, capped, spelled
from app.nodes.storage.contents import part_of
from app.nodes.task import Task
from app.platform.kv_store import LONGEST_KEY_CHARS, read_value, stored_key, write_value
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject, compact_json, stringify

#: Largest value, as bytes of its JSON.
LARGEST_VALUE_BYTES = 1024 * 1024

#: How long a value is kept: a day unless the node says otherwise, from a second to a month.
USUAL_TTL_MS = 86_400_000
LONGEST_TTL_MS = 30 * USUAL_TTL_MS


def _fits(key: str) -> str:
    if len(stored_key(key)) > LONGEST_KEY_CHARS:
        raise ValueError(f"a key is stored in {LONGEST_KEY_CHARS} characters, where each : and / takes three")
    return key


Key = Annotated[
    str, Field(max_length=LONGEST_KEY_CHARS, pattern=r"^[A-Za-z0-9_.:/-]+$"), AfterValidator(_fits)
]


class StoreRead(NodeSettings):
    """The settings of `kv_store_read`.

    A `:` in the key is stored as `..c`, a `/` as `..s`, a `..` as `..d`.
    """

    key: Key
    default: JsonValue = Field(default=None, validation_alias=spelled("default", "defaultValue"))


class StoreWrite(NodeSettings):
    """The settings of `kv_store_write`; without a `value` it is the upstream's data, or a part of it.

    A `:` in the key is stored as `..c`, a `/` as `..s`, a `..` as `..d`.
    """

    key: Key
    value: JsonValue = None
    value_path: str = ""
    ttl_ms: Annotated[int, capped(1_000, LONGEST_TTL_MS)] = Field(
        default=USUAL_TTL_MS, ge=1_000, le=LONGEST_TTL_MS
    )

    @model_validator(mode="before")
    @classmethod
    def _take_seconds(cls, given: object) -> object:
        """Some writers give the time in seconds."""
        if not isinstance(given, dict) or {"ttlMs", "ttl_ms"} & given.keys():
            return given
        seconds = given.get("ttlSeconds", given.get("ttl_seconds"))
        return given if not isinstance(seconds, int | float) else {**given, "ttlMs": round(seconds * 1000)}


@node_type("kv_store_read", config=StoreRead, gives=("key", "value", "found"), effect=Effect.READS)
def read(task: Task[StoreRead]) -> Output:
    """Give the value that the workflow keeps under a key, or the default."""
    key = task.config.key
    found, value = read_value(task.database, task.run.workflow_id, key)
    value = value if found else task.config.default
    return Output(
        text=stringify(value), artifact_kind="json", data={"key": key, "value": value, "found": found}
    )


@node_type("kv_store_write", config=StoreWrite, gives=("key", "value", "expiresAt"), effect=Effect.WRITES)
def write(task: Task[StoreWrite]) -> Output:
    """Keep a value under a key for later nodes and later runs of the workflow."""
    key, value = task.config.key, _value(task)
    if len(compact_json(value).encode("utf-8", "replace")) > LARGEST_VALUE_BYTES:
        raise NodeFailure(f"value_too_large: a value may have {LARGEST_VALUE_BYTES} bytes")
    expires_at = write_value(
        task.database, task.run.workflow_id, task.run.run_id, key, value, ttl_ms=task.config.ttl_ms
    )
    data: JsonObject = {"key": key, "value": value, "expiresAt": expires_at.isoformat()}
    return Output(text=stringify(value), artifact_kind="json", data=data)


def _value(task: Task[StoreWrite]) -> JsonValue:
    if "value" in task.config.model_fields_set:
        return task.config.value
    return part_of(task, task.config.value_path)
