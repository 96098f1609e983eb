"""What goes into a provider and what comes out of it, in words that no provider owns."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Model:
    """A model as the platform names it (`key`) and as its provider names it on the wire (`wire_model`)."""

    key: str
    provider: str
    wire_model: str
    kind: str


@dataclass(frozen=True)
class File:
    """A medium that is shown to a model."""

    mime: str
    content: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """Image, video, audio, or what else the MIME type begins with."""
        return self.mime.partition("/")[0]

    @property
    def encoded(self) -> str:
        """The content as base64."""
        return base64.b64encode(self.content).decode("ascii")

    @property
    def data_uri(self) -> str:
        """The whole file as a URI."""
        return f"data:{self.mime};base64,{self.encoded}"


@dataclass(frozen=True)
class Turn:
    """What was said before, by whom."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Prompt:
    """What the model is asked: one user message, with an optional system message and earlier turns before it.

    `files` go with the user message. `max_tokens` bounds the answer and `temperature` is sent even when it
    is 0; None leaves either to the provider.
    """

    text: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    earlier: Sequence[Turn] = ()
    files: Sequence[File] = ()


@dataclass(frozen=True)
class Answer:
    """What the model said, and what it took; tokens are those of a `Call`.

    `finish_reason` is `stop`, `length` (cut at the token limit, with some text) or `unknown`. `usage` says
    what sorts of tokens there are among them, such as `cached_tokens` and `reasoning_tokens`; `model` is the
    platform's key of the model.
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish_reason: str
    provider: str
    model: str
    request_id: str | None
    latency_ms: int
    usage: dict[str, int]


@dataclass(frozen=True)
class Reply:
    """One provider's answer, parsed but not judged; tokens are those of a `Call`.

    `finish_reason` is one of `stop`, `length`, `refused`, `interrupted` (the provider broke off) and
    `unknown`; whether that is a success is decided in one place for all providers.
    """

    text: str
    finish_reason: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_reasoning: int = 0
    request_id: str | None = None
    refusal: str | None = None

    @property
    def usage(self) -> dict[str, int]:
        """The sorts of tokens that there are, by name."""
        sorts = {
            "cached_tokens": self.tokens_cached,
            "cache_write_tokens": self.tokens_cache_write,
            "reasoning_tokens": self.tokens_reasoning,
        }
        return {name: count for name, count in sorts.items() if count}


class BadReplyError(Exception):
    """The provider answered 200 with something that is not an answer; the message says what, for people."""


class ProviderModule(Protocol):
    """What each provider's module offers."""

    def complete(self, model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:
        """Ask once. Raises whatever its SDK raises; `outcomes.judge_error` makes sense of it."""
