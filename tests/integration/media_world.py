"""Everything around media in a test: providers, Storage, and no waiting for what takes minutes outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer

KEYS = ("OPENAI", "GOOGLE_AI", "STABILITY", "ELEVENLABS", "KLING", "SUNO", "FAL")


@pytest.fixture(name="provider")
def providers_of_media(
    provider: ProviderServer, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> ProviderServer:
    configure(
        ASYNC_MEDIA_POLL_INTERVAL_MS="1",
        **{f"{owner}_API_KEY": f"sk-platform-planted-{owner.lower()}-0123456789" for owner in KEYS},
    )
    monkeypatch.setattr("app.media.errands.RECOVERY_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("app.media.handing_in.MAX_STORING_PAUSE_SECONDS", 0.01)
    return provider


@pytest.fixture(name="storage")
def storage_for_media(provider: ProviderServer, configure: Callable[..., None]) -> Iterator[StorageServer]:
    with StorageServer() as server:
        configure(**server.environment())
        yield server
