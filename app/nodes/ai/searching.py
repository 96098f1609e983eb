"""Nodes that find what means alike: embeddings, and the memories of an agent that fit a question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue

from app.errors import GiveUp
from app.nodes.ai.asking import Asking, material_of
from app.nodes.registry import Effect, node_type
from app.nodes.settings import capped, spelled
from app.nodes.task import Task
from app.platform.delegation import Memory, fetch_memories
from app.providers import Model
from app.providers.catalog import split_brand
from app.providers.embedding import DEFAULT_MODEL, Vector, embed
from app.workflow import NodeFailure, Output, Usage
from app.workflow.values import JsonObject

#: Most characters of a text that is embedded; the platform's limit.
LONGEST_TEXT = 100_000

#: Most memories, the newest ones, among which a question is looked for.
MOST_MEMORIES = 200


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


class Embedding(Asking):
    """The settings of a node that embeds a text; `dimensions` is the length of the vector."""

    dimensions: Annotated[int | None, BeforeValidator(_blank_to_none)] = Field(default=None, ge=1, le=4096)


@node_type(
    "embedding", config=Embedding, gives=("embedding", "dimensions", "truncated"), effect=Effect.SPENDS
)
def embed_text(task: Task[Embedding]) -> Output:
    """Make a vector of a text, which is close to those of texts that mean alike."""
    material = material_of(task, LONGEST_TEXT)
    (vector,), usage = _embed(task, [material.text], task.config.dimensions)
    data: JsonObject = {
        "embedding": list(vector),
        "dimensions": len(vector),
        "truncated": material.is_cut,
    }
    return Output(artifact_kind="json", metadata=usage.metadata, data=data)


class Retrieval(Asking):
    """The settings of a node that looks among an agent's memories."""

    text: str = Field(default="", validation_alias=spelled("query", "text"))
    input_path: str = Field(default="", validation_alias=spelled("queryPath", "inputPath"))
    agent_id: Annotated[UUID | None, BeforeValidator(_blank_to_none)] = Field(
        default=None, validation_alias=spelled("lenserId", "agentId")
    )
    top_k: Annotated[int, capped(1, 20)] = Field(default=5, ge=1, le=20)
    min_score: float = Field(
        default=0.0, ge=0.0, le=1.0, validation_alias=spelled("minScore", "similarityThreshold")
    )


@node_type("rag_retrieval", config=Retrieval, gives=("items", "count", "query"), effect=Effect.SPENDS)
def retrieve(task: Task[Retrieval]) -> Output:
    """Find what an agent remembers that fits a question best."""
    query = material_of(task).text
    memories = _memories(task)
    ranked: list[tuple[float, Memory]] = []
    if memories:
        vectors, _ = _embed(task, [query, *(memory.content for memory in memories)], None)
        scores = [_likeness(vectors[0], vector) for vector in vectors[1:]]
        ranked = sorted(zip(scores, memories, strict=True), key=lambda pair: pair[0], reverse=True)
    found = [pair for pair in ranked if pair[0] >= task.config.min_score][: task.config.top_k]
    items: list[JsonValue] = [
        {
            "id": str(memory.id),
            "content": memory.content,
            "score": round(score, 6),
            "scope": memory.scope,
            "source": memory.source,
        }
        for score, memory in found
    ]
    usage = task.models.usage_of(task.node)
    return Output(
        text="\n\n".join(memory.content for _, memory in found),
        artifact_kind="json",
        metadata=usage.metadata if usage else {},
        data={"items": items, "count": len(items), "query": query},
    )


def _memories(task: Task[Retrieval]) -> list[Memory]:
    agent = task.config.agent_id or task.run.ai_lenser_id
    if agent is None:
        raise NodeFailure("missing_required: lenserId, since no agent runs the workflow")
    memories = fetch_memories(task.database, agent, task.run.owner_lenser_id, MOST_MEMORIES)
    if memories is None:
        raise GiveUp("delegation.not_owned", "the agent doesn't belong to the workflow's owner")
    return memories


def _embed(
    task: Task[Asking], texts: Sequence[str], dimensions: int | None
) -> tuple[Sequence[Vector], Usage]:
    provider, name = split_brand(task.node.config.model_id or task.config.named_model or "")
    model = Model(name, provider or "openai", name, "embedding") if name else DEFAULT_MODEL
    key = task.models.key_for(model.provider)
    for text in texts[:1]:
        task.models.moderate_input(task.node, text)
    with task.models.place(f"{task.node.id}, embed", model, key, task.timeout_seconds):
        found = embed(model, texts, key=key, deadline_seconds=task.timeout_seconds, dimensions=dimensions)
    usage = Usage(model.provider, model.key, found.tokens_in, latency_ms=found.latency_ms)
    task.models.count(task.node, usage)
    return found.vectors, usage


def _likeness(one: Vector, other: Vector) -> float:
    """The cosine of the angle between two vectors: 1 for the same direction."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
