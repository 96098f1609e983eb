"""What an agent remembers for good: written by one workflow, read by another or before its next prompt."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.storage.contents import part_of
from app.nodes.task import Task
from app.platform.memories import Memory, NewMemory, find_agent, search_memories, write_memory
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject, stringify

#: Longest memory; the platform takes no longer one.
LONGEST_CONTENT_CHARS = 20_000

#: Most memories that one node reads.
MOST_MEMORIES = 50

_BLANK_LINE = "\n\n"


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


AgentId = Annotated[UUID | None, BeforeValidator(_blank_to_none)]
Key = Annotated[str, Field(min_length=1, max_length=256)]


class MemoryRead(NodeSettings):
    """The settings of `memory_read`: a key, or a text to find memories about; neither means the best ones."""

    key: Annotated[Key | None, BeforeValidator(_blank_to_none)] = Field(
        default=None, validation_alias=spelled("key", "memoryKey")
    )
    query: Annotated[str | None, BeforeValidator(_blank_to_none)] = None
    lenser_id: AgentId = Field(default=None, validation_alias=spelled("lenserId", "agentId"))
    limit: int = Field(default=10, ge=1, le=MOST_MEMORIES, validation_alias=spelled("limit", "topK"))


class MemoryWrite(NodeSettings):
    """The settings of `memory_write`; without a `value` it is the upstream's text, or what lies at a path."""

    key: Key = Field(validation_alias=spelled("key", "memoryKey"))
    value: JsonValue = Field(default=None, validation_alias=spelled("value", "content"))
    content_path: str = ""
    lenser_id: AgentId = Field(default=None, validation_alias=spelled("lenserId", "agentId"))
    scope: Literal["project", "conversation", "global"] = "project"
    source: Literal["user", "agent", "tool", "eval", "manual"] = "tool"
    confidence: float = Field(default=0.5, ge=0, le=1)
    ttl_ms: int | None = Field(default=None, ge=1_000)


@node_type(
    "memory_read", config=MemoryRead, gives=("memories", "value", "found", "count"), effect=Effect.READS
)
def recall(task: Task[MemoryRead]) -> Output:
    """Give what an agent remembers under a key, or about a text."""
    config = task.config
    agent = find_agent(task.database, task.run.run_id, config.lenser_id)
    memories = search_memories(task.database, agent, key=config.key, about=config.query, most=config.limit)
    told: list[JsonValue] = [_told(memory) for memory in memories]
    data: JsonObject = {
        "key": config.key,
        "memories": told,
        "value": memories[0].content if memories else None,
        "found": bool(memories),
        "count": len(memories),
    }
    text = _BLANK_LINE.join(memory.content for memory in memories)
    return Output(text=text, artifact_kind="json", data=data)


@node_type("memory_write", config=MemoryWrite, gives=("key", "memoryId"), effect=Effect.WRITES)
def remember(task: Task[MemoryWrite]) -> Output:
    """Have an agent remember something, in the place of what it remembered under the same key."""
    config, content = task.config, _content(task)
    if not content.strip():
        raise NodeFailure("memory.empty: there is nothing to remember")
    if len(content) > LONGEST_CONTENT_CHARS:
        raise NodeFailure(f"memory.too_long: a memory may have {LONGEST_CONTENT_CHARS} characters")
    agent = find_agent(task.database, task.run.run_id, config.lenser_id)
    memory = NewMemory(
        key=config.key,
        content=content.replace("\x00", ""),
        scope=config.scope,
        source=config.source,
        confidence=config.confidence,
        ttl_ms=config.ttl_ms,
    )
    memory_id = write_memory(task.database, agent, memory)
    return Output(text=content, data={"key": config.key, "memoryId": str(memory_id)})


def _content(task: Task[MemoryWrite]) -> str:
    if "value" in task.config.model_fields_set:
        return stringify(task.config.value)
    if not task.config.content_path.strip():
        return task.text or stringify(task.subject)
    return stringify(part_of(task, task.config.content_path))


def _told(memory: Memory) -> JsonObject:
    return {
        "key": memory.key,
        "content": memory.content,
        "scope": memory.scope,
        "source": memory.source,
        "confidence": memory.confidence,
        "createdAt": memory.created_at.isoformat(),
    }
