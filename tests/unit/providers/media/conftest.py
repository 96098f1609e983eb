from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from app.local.provider_server import ProviderServer
from app.providers.base import Model
from app.providers.media import Finished, Pending, Started, Task, poll, submit

KEY = "sk-media-0123456789abcdef"


@dataclass(frozen=True)
class Maker:
    """A provider with one kind of output: what its models are called, and whether it works on tasks."""

    provider: str
    kind: str
    wire_model: str
    is_task: bool

    def __str__(self) -> str:
        return f"{self.provider}-{self.kind}"


MAKERS = [
    Maker("openai", "image", "dall-e-3", is_task=False),
    Maker("openai", "image", "gpt-image-2", is_task=False),
    Maker("google", "image", "imagen-4.0-generate-001", is_task=False),
    Maker("stability", "image", "sd3.5-large", is_task=False),
    Maker("elevenlabs", "audio", "eleven_multilingual_v2", is_task=False),
    Maker("openai", "video", "sora-2", is_task=True),
    Maker("google", "video", "veo-3.0-generate-001", is_task=True),
    Maker("google", "music", "lyria-002", is_task=True),
    Maker("kling", "video", "kling-v2-master", is_task=True),
    Maker("suno", "music", "chirp-v4", is_task=True),
    Maker("fal", "image", "fal-ai/flux", is_task=True),
]

Submit = Callable[..., Finished | Started]
PollTask = Callable[..., Pending | Finished]


@pytest.fixture
def order(server: ProviderServer) -> Submit:
    """Order something: `order(maker, scenario="500")`."""

    def order_it(
        maker: Maker, scenario: str = "", *, key: str = KEY, deadline_seconds: float = 10.0
    ) -> Finished | Started:
        wire_model = f"{maker.wire_model}+{scenario}" if scenario else maker.wire_model
        return submit(
            Model(f"key-of-{wire_model}", maker.provider, wire_model, maker.kind),
            "a red kite over the sea",
            key=SecretStr(key),
            deadline_seconds=deadline_seconds,
            idempotency_key="job-1",
        )

    return order_it


@pytest.fixture
def ask(server: ProviderServer) -> PollTask:
    """Ask for a task: `ask(maker, "task-1")`."""

    def ask_it(
        maker: Maker, task_id: str, *, key: str = KEY, deadline_seconds: float = 10.0
    ) -> Pending | Finished:
        task = Task(maker.provider, maker.wire_model, maker.kind, task_id)
        return poll(task, key=SecretStr(key), deadline_seconds=deadline_seconds)

    return ask_it
