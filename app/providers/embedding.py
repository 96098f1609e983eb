"""Embeddings of texts, by OpenAI's and Google's models: vectors that are close for what means alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import Field, SecretStr

from app.calls import Call
from app.errors import GiveUp
from app.providers.attempts import call_once
from app.providers.base import BadReplyError, Model
from app.providers.ceilings import most_tokens
from app.providers.media.wire import bearer, parse, post_json, segment
from app.providers.wire import Count, Lenient, WirePart
from app.purse import Ceiling
from app.settings import settings

#: The model where nobody names one.
DEFAULT_MODEL = Model("text-embedding-3-small", "openai", "text-embedding-3-small", "embedding")

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Embedded:
    """The vectors, in the order of the texts, and what they took."""

    vectors: tuple[Vector, ...]
    tokens_in: int
    latency_ms: int


class _Usage(WirePart):
    prompt_tokens: Count = 0


class _Item(WirePart):
    index: int
    embedding: Vector = Field(min_length=1)


class _OpenAiReply(WirePart):
    data: list[_Item]
    usage: Annotated[_Usage, Lenient] = _Usage()


class _Values(WirePart):
    values: Vector = Field(min_length=1)


class _GoogleUsage(WirePart):
    promptTokenCount: Count = 0  # noqa: N815  # the wire's name


class _GoogleReply(WirePart):
    embeddings: list[_Values]
    usageMetadata: Annotated[_GoogleUsage, Lenient] = _GoogleUsage()  # noqa: N815  # the wire's name


def embed(
    model: Model,
    texts: Sequence[str],
    *,
    key: SecretStr,
    deadline_seconds: float,
    dimensions: int | None = None,
) -> Embedded:
    """Embed texts in one call; raises `RetryLater` and `GiveUp`, for providers without embeddings too."""
    asking = {"openai": _ask_openai, "google": _ask_google}.get(model.provider)
    if asking is None:
        raise GiveUp("provider.modality_unsupported", f"the worker knows no embeddings of {model.provider!r}")

    def ask(secret: str, call: Call) -> tuple[Vector, ...]:
        vectors, call.tokens_in = asking(model.wire_model, texts, dimensions, secret, deadline_seconds)
        if len(vectors) != len(texts):
            raise BadReplyError("it does not embed every text")
        return vectors

    ceiling = partial(Ceiling, tokens_in=most_tokens(texts))
    vectors, call = call_once(model.provider, model.key, key, deadline_seconds, ask, ceiling=ceiling)
    return Embedded(vectors, call.tokens_in, call.duration_ms)


def _ask_openai(
    model: str, texts: Sequence[str], dimensions: int | None, secret: str, seconds: float
) -> tuple[tuple[Vector, ...], int]:
    body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    url = f"{settings().openai_base_url.rstrip('/')}/embeddings"
    reply = parse(_OpenAiReply, post_json(url, body, bearer(secret), seconds))
    ordered = sorted(reply.data, key=lambda item: item.index)
    return tuple(item.embedding for item in ordered), reply.usage.prompt_tokens


def _ask_google(
    model: str, texts: Sequence[str], dimensions: int | None, secret: str, seconds: float
) -> tuple[tuple[Vector, ...], int]:
    wanted = {} if dimensions is None else {"outputDimensionality": dimensions}
    asked = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **wanted} for text in texts]
    url = f"{settings().google_base_url.rstrip('/')}/v1beta/models/{segment(model)}:batchEmbedContents"
    reply = parse(_GoogleReply, post_json(url, {"requests": asked}, {"x-goog-api-key": secret}, seconds))
    return tuple(item.values for item in reply.embeddings), reply.usageMetadata.promptTokenCount
