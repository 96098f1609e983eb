"""Tokens mean the same whoever counts them: each provider's own fields are read into one set of counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from app.calls import Call, collect_calls
from app.local.provider_server import ProviderServer
from app.local.provider_usage import Used
from app.providers import Model, embedding, transcribing
from app.providers.base import File

from .conftest import KEY, Ask

USED = Used(fresh=101, cached=2_003, written=57, thought=307, said=31)

#: What each provider doesn't tell apart is counted with what it is a part of.
TOLD = {
    "openai": USED,
    "mistral": USED,
    "deepseek": Used(fresh=158, cached=2_003, thought=307, said=31),
    "anthropic": USED,
    "google": Used(fresh=158, cached=2_003, thought=307, said=31),
    "google_vertex": Used(fresh=158, cached=2_003, thought=307, said=31),
    "ollama": Used(fresh=2_161, said=338),
}


def counts_of(call: Call) -> Used:
    return Used(
        fresh=call.tokens_in - call.tokens_cached - call.tokens_cache_write,
        cached=call.tokens_cached,
        written=call.tokens_cache_write,
        thought=call.tokens_reasoning,
        said=call.tokens_out - call.tokens_reasoning,
    )


@pytest.mark.parametrize("provider", TOLD)
def test_every_sort_of_token_is_counted_once(
    provider: str, ask_provider: Ask, server: ProviderServer
) -> None:
    server.meter("m", USED)
    calls: list[Call] = []
    with collect_calls(calls):
        answer = ask_provider(provider, "m")
    (call,) = calls
    assert counts_of(call) == TOLD[provider]
    assert (answer.tokens_in, answer.tokens_out) == (USED.prompt, USED.made)
    sorts = {
        "cached_tokens": call.tokens_cached,
        "cache_write_tokens": call.tokens_cache_write,
        "reasoning_tokens": call.tokens_reasoning,
    }
    assert answer.usage == {name: count for name, count in sorts.items() if count}


@pytest.mark.parametrize("provider", TOLD)
def test_counts_as_large_as_they_get_are_counts_still(
    provider: str, ask_provider: Ask, server: ProviderServer
) -> None:
    largest = 2**31 - 1
    server.meter("m", replace(USED, fresh=largest - 1, cached=1, written=0, said=0, thought=0))
    assert 0 <= ask_provider(provider, "m").tokens_in <= largest


def test_an_answer_that_was_refused_has_taken_its_tokens_all_the_same(
    ask_provider: Ask, server: ProviderServer
) -> None:
    server.meter("m+refusal", USED)
    calls: list[Call] = []
    with collect_calls(calls), pytest.raises(Exception, match="refused"):
        ask_provider("openai", "m+refusal")
    assert counts_of(calls[0]) == USED


def test_embeddings_and_transcriptions_are_counted(server: ProviderServer) -> None:
    calls: list[Call] = []
    key, seconds = SecretStr(KEY), 10.0
    with collect_calls(calls):
        for provider in ("openai", "google"):
            model = Model("e", provider, "e", "embedding")
            embedding.embed(model, ["one two", "three"], key=key, deadline_seconds=seconds)
        recording = File("audio/mpeg", b"ID3")
        transcribing.transcribe(
            Model("t", "openai", "t", "text"), recording, key=key, deadline_seconds=seconds
        )
    assert [(call.provider, call.tokens_in, call.tokens_out, call.units) for call in calls] == [
        ("openai", 3, 0, 0),
        ("google", 3, 0, 0),
        ("openai", 14, 5, 1),
    ]
