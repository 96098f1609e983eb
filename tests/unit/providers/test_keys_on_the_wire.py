"""Whose key a call is made with: the run's own, never another's, never one from the environment."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from app.errors import GiveUp
from app.providers import check_key, needs_key, platform_key
from app.settings import settings

from .conftest import KEY

THREADS = 8
CALLS_PER_THREAD = 40


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "ollama"])
def test_eight_users_at_once_each_spend_their_own_key(provider, ask_provider, server):
    def spend(user: int) -> None:
        for call in range(CALLS_PER_THREAD):
            answer = ask_provider(provider, key=f"key-of-user-{user}", text=f"{user} {call}")
            assert answer.text == f"m says: {user} {call}"

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(spend, range(THREADS)))
    assert len(server.calls) == THREADS * CALLS_PER_THREAD
    wrong = [call for call in server.calls if call.key != f"key-of-user-{call.prompt.split()[0]}"]
    assert wrong == []


AMBIENT = {
    "OPENAI_API_KEY": "ambient-openai",
    "OPENAI_ORG_ID": "ambient-org",
    "OPENAI_PROJECT_ID": "ambient-project",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer ambient-header\nX-Extra: ambient-extra",
    "ANTHROPIC_API_KEY": "ambient-anthropic",
    "ANTHROPIC_AUTH_TOKEN": "ambient-token",
    "ANTHROPIC_CUSTOM_HEADERS": "x-api-key: ambient-header\nX-Extra: ambient-extra",
    "GOOGLE_API_KEY": "ambient-google",
    "GEMINI_API_KEY": "ambient-gemini",
    "MISTRAL_API_KEY": "ambient-mistral",
    "DEEPSEEK_API_KEY": "ambient-deepseek",
    "HTTP_PROXY": "http://ambient-user:ambient-password@127.0.0.1:9",
}


@pytest.fixture
def ambient(monkeypatch):
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


@pytest.mark.parametrize(
    "provider", ["openai", "mistral", "deepseek", "anthropic", "google", "google_vertex"]
)
@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_key_makes_no_call_whatever_the_environment_holds(
    provider, blank, ask_provider, server, ambient
):
    with pytest.raises(GiveUp) as caught:
        ask_provider(provider, key=blank)
    assert caught.value.code == "key.missing"
    assert server.calls == []


@pytest.mark.parametrize("provider", ["openai", "mistral", "deepseek", "anthropic", "google", "ollama"])
def test_nothing_of_the_environment_reaches_the_wire(provider, ask_provider, server, ambient):
    ask_provider(provider)
    assert server.calls[0].key == KEY
    assert "ambient" not in str(server.calls[0].headers)


def test_a_key_pasted_with_blanks_around_it_works(ask_provider, server):
    ask_provider("openai", key=f" {KEY}\n")
    assert server.calls[0].key == KEY


@pytest.mark.parametrize("key", ["sk two words", "sk-ключ", "sk-\x00abc", "sk-a\nInjected: header"])
def test_a_key_that_fits_no_header_is_malformed_and_not_repeated(key):
    with pytest.raises(GiveUp) as caught:
        check_key(SecretStr(key))
    assert caught.value.code == "key.malformed"
    assert key not in str(caught.value)


def test_platform_keys_come_from_the_settings_and_blank_is_none(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-platform")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "  ")
    settings.cache_clear()
    now = settings()
    key = platform_key("openai", now)
    assert key is not None
    assert key.get_secret_value() == "sk-platform"
    assert platform_key("anthropic", now) is None
    assert platform_key("mistral", now) is None
    assert platform_key("ollama", now) is None


def test_only_local_providers_need_no_key(monkeypatch):
    assert needs_key("openai")
    assert not needs_key("ollama")
    assert not needs_key("echo")
    monkeypatch.setenv("USE_ECHO_PROVIDER", "true")
    settings.cache_clear()
    assert not needs_key("openai")
