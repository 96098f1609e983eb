"""Everything around media in a test: providers, Storage, and no waiting for what takes minutes outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.http import guarded_client
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer
from app.settings import settings

KEYS = ("OPENAI", "GOOGLE_AI", "STABILITY", "ELEVENLABS", "KLING", "SUNO", "FAL")


@pytest.fixture(name="provider")
def providers_of_media(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for owner in KEYS:
            monkeypatch.setenv(f"{owner}_API_KEY", f"sk-platform-planted-{owner.lower()}-0123456789")
        monkeypatch.setenv("WORKER_RETRY_MIN_BACKOFF_MS", "1")
        monkeypatch.setenv("ASYNC_MEDIA_POLL_INTERVAL_MS", "1")
        monkeypatch.setattr("app.media.errands.RECOVERY_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr("app.media.errands.MAX_STORING_PAUSE_SECONDS", 0.01)
        settings.cache_clear()
        guarded_client.cache_clear()
        yield server
        guarded_client.cache_clear()


@pytest.fixture(name="storage")
def storage_for_media(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    with StorageServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield server
