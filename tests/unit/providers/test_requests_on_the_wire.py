"""What goes out to each provider, and what comes back of a good answer."""

import logging
import subprocess
import sys

import pytest

from app.settings import settings

from .conftest import KEY

FULL = {"text": "how are you", "system": "be brief", "max_tokens": 50, "temperature": 0.0}
CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how are you"}]
USER = [{"role": "user", "content": "how are you"}]
TEXT = {"role": "user", "parts": [{"text": "how are you"}]}

BODIES = {
    "openai": {"model": "m", "messages": CHAT, "max_completion_tokens": 50, "temperature": 0},
    "mistral": {"model": "m", "messages": CHAT, "max_tokens": 50, "temperature": 0},
    "deepseek": {
        "model": "m",
        "messages": CHAT,
        "max_tokens": 50,
        "temperature": 0,
        "thinking": {"type": "disabled"},
    },
    "anthropic": {
        "model": "m",
        "messages": USER,
        "system": "be brief",
        "max_tokens": 50,
        "temperature": 0,
    },
    "google": {
        "contents": [TEXT],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "generationConfig": {"maxOutputTokens": 50, "temperature": 0},
    },
    "ollama": {
        "model": "m",
        "messages": CHAT,
        "stream": False,
        "options": {"num_predict": 50, "temperature": 0},
    },
}
BODIES["google_vertex"] = BODIES["google"]

PLAIN_BODIES = {
    "openai": {"model": "m", "messages": USER},
    "mistral": {"model": "m", "messages": USER},
    "deepseek": {"model": "m", "messages": USER, "thinking": {"type": "disabled"}},
    "anthropic": {"model": "m", "messages": USER, "max_tokens": 4096},
    "google": {"contents": [TEXT]},
    "google_vertex": {"contents": [TEXT]},
    "ollama": {"model": "m", "messages": USER, "stream": False},
}


def _without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize("provider", BODIES)
def test_system_limit_and_temperature_zero_are_sent(provider, ask_provider, server):
    ask_provider(provider, **FULL)
    assert _without(server.calls[0].body, "model") == _without(BODIES[provider], "model")
    assert server.calls[0].model == "m"
    assert server.calls[0].system == "be brief"


@pytest.mark.parametrize("provider", PLAIN_BODIES)
def test_what_the_job_leaves_open_is_not_sent(provider, ask_provider, server):
    ask_provider(provider)
    assert _without(server.calls[0].body, "model") == _without(PLAIN_BODIES[provider], "model")


@pytest.mark.parametrize("provider", BODIES)
def test_an_answer_carries_text_usage_and_the_platforms_model_key(provider, ask_provider):
    answer = ask_provider(provider, "m", system="be brief")
    assert answer.text == "m says: how are you"
    thought = answer.usage.get("reasoning_tokens", 0)
    assert thought == (2 if provider.startswith("google") else 0)
    assert (answer.tokens_in, answer.tokens_out) == (5, 5 + thought)
    assert answer.finish_reason == "stop"
    assert (answer.provider, answer.model) == (provider, "key-of-m")
    assert answer.latency_ms >= 0
    assert all(isinstance(count, int) for count in answer.usage.values())
    if provider != "ollama":
        assert answer.usage["cached_tokens"] == 1


def test_the_key_travels_in_each_providers_own_header(ask_provider, server):
    expected = {
        "openai": ("authorization", f"Bearer {KEY}"),
        "mistral": ("authorization", f"Bearer {KEY}"),
        "deepseek": ("authorization", f"Bearer {KEY}"),
        "anthropic": ("x-api-key", KEY),
        "google": ("x-goog-api-key", KEY),
        "google_vertex": ("x-goog-api-key", KEY),
        "ollama": ("authorization", f"Bearer {KEY}"),
    }
    for provider, (header, value) in expected.items():
        ask_provider(provider)
        headers = server.calls[-1].headers
        assert headers[header] == value
        assert [name for name, sent in headers.items() if KEY in sent] == [header]


def test_anthropic_speaks_the_api_version_that_takes_a_temperature(ask_provider, server):
    ask_provider("anthropic")
    assert server.calls[0].headers["anthropic-version"] == "2023-06-01"


def test_ollama_needs_no_key(ask_provider, server):
    assert ask_provider("ollama", key="").text
    assert "authorization" not in server.calls[0].headers


def test_echo_answers_for_every_model_without_network_or_key(ask_provider, server, monkeypatch):
    monkeypatch.setenv("ECHO_PROVIDER", "1")
    monkeypatch.setenv("WORKER_ECHO_LATENCY_MS", "30")
    settings.cache_clear()
    answer = ask_provider("anthropic", key="", text="one two three", system="four")
    assert (answer.text, answer.tokens_in, answer.tokens_out) == ("one two three", 4, 3)
    assert (answer.provider, answer.model) == ("echo", "key-of-m")
    assert answer.latency_ms >= 30
    assert server.calls == []


def test_a_nul_that_no_database_stores_is_dropped(ask_provider):
    assert ask_provider("openai", text="a\x00b").text == "m says: ab"


@pytest.mark.parametrize("provider", BODIES)
def test_no_log_line_at_any_level_holds_the_key(provider, ask_provider, caplog):
    caplog.set_level(logging.DEBUG)
    with caplog.at_level(logging.DEBUG, logger="google"):
        ask_provider(provider)
    assert KEY not in "".join(str(record.__dict__) for record in caplog.records)


def test_sdks_are_not_imported_before_they_are_needed():
    code = (
        "import sys, app.providers, app.redaction;"
        "print([name for name in ('openai', 'anthropic', 'google.ai', 'grpc', 'requests')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
