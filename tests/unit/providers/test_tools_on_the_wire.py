"""Moderation, embeddings and transcription: what goes out, what comes back, how they fail."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from app.errors import GiveUp, RetryLater
from app.local.media_samples import MP3
from app.local.provider_tools import vector_of
from app.providers import File, Model
from app.providers.embedding import DEFAULT_MODEL, embed
from app.providers.moderating import PIECE_CHARACTERS, moderate
from app.providers.transcribing import DEFAULT_MODEL as WHISPER
from app.providers.transcribing import transcribe
from app.settings import settings

from .conftest import KEY

CALL: dict[str, Any] = {"key": SecretStr(KEY), "deadline_seconds": 10.0}
RECORDING = File("audio/mpeg", MP3)
GOOGLE = Model("text-embedding-004", "google", "text-embedding-004", "embedding")

ASKED: dict[str, tuple[str, Callable[[], Any]]] = {
    "moderation": ("omni-moderation-latest", lambda: moderate("hello", **CALL)),
    "embeddings": ("text-embedding-3-small", lambda: embed(DEFAULT_MODEL, ["hello"], **CALL)),
    "google's embeddings": ("text-embedding-004", lambda: embed(GOOGLE, ["hello"], **CALL)),
    "transcription": ("whisper-1", lambda: transcribe(WHISPER, RECORDING, **CALL)),
}


@pytest.mark.parametrize("what", sorted(ASKED))
@pytest.mark.parametrize(
    ("scenario", "outcome", "code"),
    [
        ("401", GiveUp, "provider.auth_failed"),
        ("429", RetryLater, "provider.rate_limited"),
        ("503", RetryLater, "provider.unavailable"),
        ("bad-json", RetryLater, "provider.bad_response"),
        ("empty-json", RetryLater, "provider.bad_response"),
        ("reset", RetryLater, "provider.connection_failed"),
        ("echo-key", GiveUp, "provider.auth_failed"),
    ],
)
def test_failures_end_in_the_outcomes_of_every_call(what, scenario, outcome, code, server):
    model, ask = ASKED[what]
    server.script(model, [scenario])
    with pytest.raises(outcome) as failed:
        ask()
    assert failed.value.code == code
    assert KEY not in str(failed.value)
    assert len(server.calls) == 1
    assert server.calls[0].key == KEY


def test_a_harmless_text_is_allowed_and_a_forbidden_one_is_not(server):
    assert moderate("hello", **CALL).allowed
    judged = moderate("something forbidden", **CALL)
    assert (judged.allowed, judged.categories) == (False, ("violence",))


def test_a_long_text_is_judged_to_its_end(server):
    judged = moderate("a" * (2 * PIECE_CHARACTERS) + " forbidden", **CALL)
    assert not judged.allowed
    assert [len(piece) for piece in server.calls[0].body["input"]] == [PIECE_CHARACTERS] * 2 + [10]


def test_nothing_is_sent_for_nothing_and_none_while_the_echo_answers(server, monkeypatch):
    assert moderate("  ", **CALL).allowed
    monkeypatch.setenv("ECHO_PROVIDER", "1")
    settings.cache_clear()
    assert moderate("forbidden", **CALL).allowed
    assert server.calls == []


@pytest.mark.parametrize("model", [DEFAULT_MODEL, GOOGLE], ids=["openai", "google"])
def test_vectors_come_in_the_order_of_the_texts(model, server):
    found = embed(model, ["red kite", "blue whale"], dimensions=64, **CALL)
    assert [list(vector) for vector in found.vectors] == [vector_of("red kite"), vector_of("blue whale")]


def test_dimensions_are_asked_for_only_where_they_are_wanted(server):
    embed(DEFAULT_MODEL, ["a"], **CALL)
    embed(DEFAULT_MODEL, ["a"], dimensions=8, **CALL)
    assert [call.body.get("dimensions") for call in server.calls] == [None, 8]


def test_a_provider_without_embeddings_is_refused(server):
    with pytest.raises(GiveUp, match="anthropic"):
        embed(Model("m", "anthropic", "m", "text"), ["a"], **CALL)


def test_a_recording_is_sent_as_a_file_with_its_language(server):
    server.say("whisper-1", "guten Tag")
    found = transcribe(WHISPER, RECORDING, language="de", **CALL)
    assert (found.text, found.tokens_in, found.tokens_out) == ("guten Tag", 14, 5)
    assert server.calls[0].body["language"] == "de"
    assert server.calls[0].headers["content-type"].startswith("multipart/form-data")


def test_what_is_no_recording_is_refused_before_any_call(server):
    with pytest.raises(GiveUp) as refused:
        transcribe(WHISPER, File("image/png", MP3), **CALL)
    assert refused.value.code == "media.wrong_type"
    assert server.calls == []
