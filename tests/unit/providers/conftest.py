from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from app.local.provider_server import ProviderServer
from app.providers import Answer, Model, Prompt, ask
from app.settings import environment_names, settings

KEY = "sk-test-0123456789abcdef"

Ask = Callable[..., Answer]


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch, tmp_path) -> Iterator[None]:
    """Settings that read nothing of this machine; tests that set variables clear the cache themselves."""
    monkeypatch.chdir(tmp_path)
    for name in environment_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgres://x/y")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def server(monkeypatch, fresh_settings) -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield server


@pytest.fixture
def ask_provider(server) -> Ask:
    """Ask a provider of the local server: `ask_provider("openai", "any-model+scenario")`."""

    def ask_it(provider: str, wire_model: str = "m", *, key: str = KEY, **options: Any) -> Answer:
        seconds = options.pop("deadline_seconds", 10.0)
        prompt = Prompt(**{"text": "how are you", **options})
        model = Model(f"key-of-{wire_model}", provider, wire_model, "text")
        return ask(model, prompt, key=SecretStr(key), deadline_seconds=seconds)

    return ask_it
