"""What is held for a call before it goes out, and which ends of a call certainly cost nothing."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.calls import Call, call_parameters, collect_calls
from app.errors import JobError
from app.local.provider_server import ProviderServer
from app.providers import File, Model, Prompt, Turn
from app.providers.ceilings import ceiling_of_prompt, ceiling_of_recording
from app.providers.embedding import embed
from app.providers.media import Wishes
from app.providers.media.base import Order
from app.providers.media.ceilings import ceiling_of_order
from app.providers.moderating import moderate
from app.purse import Ceiling, paid_from
from app.settings import settings

from .conftest import KEY, Ask

HOLD = uuid4()


class NotedPurse:
    """Pays for everything, and notes what for."""

    max_output_tokens = 777

    def __init__(self) -> None:
        self.held: list[tuple[str, str, str, Ceiling]] = []

    def hold(self, provider: str, model: str, key: str, ceiling: Ceiling) -> UUID | None:
        self.held.append((provider, model, key, ceiling))
        return HOLD


def call_of(ask_provider: Ask, provider: str, wire_model: str, purse: NotedPurse | None = None) -> Call:
    """The call, with the purse open, whatever it ends in."""
    calls: list[Call] = []
    with collect_calls(calls), paid_from(purse or NotedPurse()), suppress(JobError):
        ask_provider(provider, wire_model, deadline_seconds=1.0)
    (call,) = calls
    return call


def test_a_call_that_is_paid_for_has_a_bound_and_tells_its_hold_with_its_tokens(
    ask_provider: Ask, server: ProviderServer
) -> None:
    purse = NotedPurse()
    call = call_of(ask_provider, "openai", "m", purse)
    assert purse.held == [("openai", "key-of-m", "platform", Ceiling(256 + 2 * 32 + 11, 777))]
    assert server.calls[0].body["max_completion_tokens"] == 777
    (told,) = call_parameters([call]).adapted  # type: ignore[union-attr]
    assert (told["hold"], told["is_free"], told["tokens_in"]) == (str(HOLD), False, 3)


def test_a_job_keeps_its_own_bound(ask_provider: Ask, server: ProviderServer) -> None:
    with paid_from(NotedPurse()):
        ask_provider("openai", max_tokens=5)
    assert server.calls[0].body["max_completion_tokens"] == 5


def test_who_counts_nothing_sends_no_bound_and_tells_of_no_hold(
    ask_provider: Ask, server: ProviderServer
) -> None:
    calls: list[Call] = []
    with collect_calls(calls):
        ask_provider("openai")
    assert "max_completion_tokens" not in server.calls[0].body
    assert "hold" not in call_parameters(calls).adapted[0]  # type: ignore[union-attr]


def test_a_provider_that_wants_no_key_wants_no_money(ask_provider: Ask) -> None:
    purse = NotedPurse()
    assert call_of(ask_provider, "ollama", "m", purse).hold is None
    assert purse.held == []


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "mistral", "deepseek"])
@pytest.mark.parametrize("scenario", ["400", "401", "429", "500", "503", "529", "context-too-long"])
def test_a_call_that_its_provider_refuses_is_free(ask_provider: Ask, provider: str, scenario: str) -> None:
    assert call_of(ask_provider, provider, f"m+{scenario}").is_free


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("scenario", ["reset", "cut-body", "html", "hang"])
def test_a_call_of_which_nobody_knows_may_have_cost_everything(
    ask_provider: Ask, provider: str, scenario: str
) -> None:
    call = call_of(ask_provider, provider, f"m+{scenario}")
    assert (call.is_free, call.tokens_in) == (False, 0)


def test_a_provider_that_can_not_be_reached_costs_nothing(
    ask_provider: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    settings.cache_clear()
    assert call_of(ask_provider, "openai", "m").is_free


def test_a_refusal_to_answer_costs_what_it_took(ask_provider: Ask) -> None:
    call = call_of(ask_provider, "openai", "m+refusal")
    assert call.error_code == "provider.content_refused"
    assert not call.is_free
    assert call.tokens_in > 0


def test_embeddings_are_held_for_and_moderation_is_free(server: ProviderServer) -> None:
    purse = NotedPurse()
    model = Model("text-embedding-3-small", "openai", "text-embedding-3-small", "embedding")
    with paid_from(purse):
        embed(model, ["one", "two"], key=SecretStr(KEY), deadline_seconds=5.0)
        moderate("all of it", key=SecretStr(KEY), deadline_seconds=5.0)
    assert [(name, ceiling.tokens_in) for _, name, _, ceiling in purse.held] == [
        ("text-embedding-3-small", 256 + 2 * 32 + 6)
    ]


@given(text=st.text(), system=st.none() | st.text(), said=st.lists(st.text(), max_size=5))
def test_no_prompt_has_more_tokens_than_are_held_for(text: str, system: str | None, said: list[str]) -> None:
    prompt = Prompt(text, system=system, max_tokens=9, earlier=[Turn("user", words) for words in said])
    messages = [text, *said, *([system] if system else [])]
    most = sum(len(words.encode()) + 8 for words in messages)
    ceiling = ceiling_of_prompt(prompt)
    assert ceiling.tokens_in > most
    assert ceiling.tokens_out == 9


def test_what_is_shown_counts_by_its_kind_not_by_its_size() -> None:
    image, film = File("image/png", b"x"), File("video/mp4", b"x")
    plain = ceiling_of_prompt(Prompt("hi")).tokens_in
    assert ceiling_of_prompt(Prompt("hi", files=[image, image])).tokens_in == plain + 80_000
    assert ceiling_of_prompt(Prompt("hi", files=[film])).tokens_in == plain + 1_048_576


def test_a_recording_counts_for_as_long_as_it_can_be() -> None:
    ceiling = ceiling_of_recording(File("audio/mpeg", b"x" * 60_000))
    assert (ceiling.units, ceiling.seconds) == (1, 61)


@pytest.mark.parametrize(
    ("kind", "wishes", "seconds"),
    [
        ("video", Wishes(duration_seconds=8), 8),
        ("video", Wishes(), 60),
        ("music", Wishes(), 480),
        ("audio", Wishes(), 10),
    ],
    ids=["as-wished", "film", "song", "speech"],
)
def test_an_order_counts_for_as_long_as_its_medium_can_be(kind: str, wishes: Wishes, seconds: float) -> None:
    ceiling = ceiling_of_order(Order(Model("m", "p", "m", kind), "twenty letters here.", "ref", wishes))
    assert (ceiling.units, ceiling.seconds) == (1, seconds)
