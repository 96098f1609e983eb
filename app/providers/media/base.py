"""What goes into a media provider and what comes out of it, in words that no provider owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from app.errors import GiveUp
from app.providers.base import File, Model


class Wishes(BaseModel):
    """How a medium shall be; None leaves it to the provider. Sizes are in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int | None = Field(default=None, ge=1, le=16_384)
    height: int | None = Field(default=None, ge=1, le=16_384)
    aspect_ratio: str | None = Field(default=None, pattern="^[0-9]{1,2}:[0-9]{1,2}$")
    quality: str | None = None
    style: str | None = None
    voice: str | None = Field(default=None, pattern="^[A-Za-z0-9_-]{1,100}$")
    audio_format: str | None = None
    duration_seconds: int | None = Field(default=None, ge=1, le=3_600)
    scale: float | None = Field(default=None, ge=1, le=16)

    @property
    def named(self) -> frozenset[str]:
        """The wishes that there are."""
        return frozenset(self.model_dump(exclude_none=True))


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Order:
    """One medium to be made, of another one where there is a `source`.

    `reference` is the same for every submission of one job; providers that know how find a task by it.
    """

    model: Model
    prompt: str
    reference: str
    wishes: Wishes = NO_WISHES
    source: File | None = None


@dataclass(frozen=True)
class Task:
    """A task at a provider: `wire_model` is the provider's name of its model, `kind` what it makes."""

    provider: str
    wire_model: str
    kind: str
    task_id: str


@dataclass(frozen=True)
class Media:
    """A finished medium: either `content`, or a `url` at which it can be fetched for a while.

    `mime` is what the provider says, `bytes_count` is known of content only. `fetch_headers` go along with
    the request for the URL, and to no other host; they hold the key where the provider wants it.
    """

    mime: str
    url: str | None = None
    content: bytes | None = field(default=None, repr=False)
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    fetch_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def bytes_count(self) -> int | None:
        """The size, where the content is here."""
        return None if self.content is None else len(self.content)


@dataclass(frozen=True)
class Finished:
    """The medium is there; tokens are those of a `Call`, where its provider counts any."""

    media: Media
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def seconds(self) -> float | None:
        """How long the medium is, where that is known."""
        return self.media.duration_seconds


@dataclass(frozen=True)
class Started:
    """The provider took the order; ask for `task_id` after that many seconds.

    `seconds` is how long a medium was ordered, which its price may go by.
    """

    task_id: str
    poll_after_seconds: float
    seconds: float | None = None


@dataclass(frozen=True)
class Pending:
    """Not yet; `after_seconds` is what the provider suggests, None leaves it to the caller."""

    after_seconds: float | None = None


class SubmissionUnknown(GiveUp):
    """Nobody can tell whether the provider took a paid order, so it is not submitted again."""

    def __init__(self, detail: str, code: str = "provider.submission_unknown") -> None:
        super().__init__(
            code,
            f"the provider may have taken the order, so it is not sent again ({detail})",
        )


class MediaModule(Protocol):
    """What each provider's module offers; it raises whatever its transport raises, and JobErrors.

    `HONOURS` are the wishes that it passes on; a module that makes media of other media has `TAKES_SOURCE`.
    """

    HONOURS: frozenset[str]

    def submit(self, order: Order, key: str, timeout_seconds: float) -> Finished | Started:
        """Send the order once."""


class RecoverModule(MediaModule, Protocol):
    """What the module of a provider offers that finds a task by the reference of its order."""

    def recover(self, order: Order, key: str, timeout_seconds: float) -> Started | None:
        """The task that an order became, or None when the provider never took it."""


class TaskModule(MediaModule, Protocol):
    """What the module of a provider that works on tasks offers besides."""

    def poll(self, task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
        """Ask once how far a task is; raises GiveUp when it failed."""
