"""The media of the demo: made at once or in the provider's own time, for lens runs and for battles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

PROMPT = "A red kite over the sea."


@dataclass(frozen=True)
class Order:
    """One medium of a model, and its end.

    `kind` is that of `app.local.media_samples`. A model that makes tasks has its name on the wire and a plan
    of `app.local.media_progress`; `error_code` is the end of one whose plan ends badly.
    """

    model: str
    kind: str
    wire_model: str | None = None
    plan: tuple[str, ...] = ()
    error_code: str | None = None

    @property
    def polls(self) -> int:
        """How many polls find the task still at work."""
        return max(len(self.plan) - 1, 0)


@dataclass(frozen=True)
class MediaCase:
    """Equal lens runs of one order, or equal battles of two.

    `owner_ids` are those of the runs or battles.
    """

    label: str
    orders: tuple[Order] | tuple[Order, Order]
    count: int = 1
    owner_ids: list[UUID] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """What comes out, in a few words."""
        codes = [order.error_code for order in self.orders if order.error_code]
        kept = ["stored"] * (len(codes) < len(self.orders))
        return "; ".join([*kept, *codes])

    @property
    def is_battle(self) -> bool:
        """Whether two contenders make a medium each."""
        return len(self.orders) == 2


_VIDEO = Order("sora-2.0", "video", "sora-2", ("pending", "pending", "pending", "done"))
_MUSIC = Order("suno-v5", "music", "chirp-v4", ("pending", "done"))
_FAILING = Order("kling-2.0", "video", "kling-v2-master", ("pending", "failed"), "provider.task_failed")
_REFUSED = Order("veo-2", "video", "veo-2.0-generate-001", ("pending", "refused"), "provider.content_refused")
_IMAGE = Order("gpt-image-1", "image")


def media_cases() -> Iterator[MediaCase]:
    """Every case, in the order to show them."""
    yield MediaCase("image", (_IMAGE,), count=2)
    yield MediaCase("speech", (Order("elevenlabs-v4", "audio"),))
    yield MediaCase("video, ready when asked 4 times", (_VIDEO,), count=2)
    yield MediaCase("video whose rendering fails", (_FAILING,))
    yield MediaCase("battle: video against music", (_VIDEO, _MUSIC))
    yield MediaCase("battle: image against a refusal", (_IMAGE, _REFUSED))
