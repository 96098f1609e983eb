"""Every provider in every scenario: which error, which code."""

import pytest

from app.errors import GiveUp, JobError, RetryLater
from app.local.provider_scenarios import RETRY_AFTER_SECONDS

from .conftest import KEY

PROVIDERS = ["openai", "mistral", "deepseek", "anthropic", "google", "google_vertex", "ollama"]

OUTCOMES = {
    "400": (GiveUp, "provider.invalid_request"),
    "401": (GiveUp, "provider.auth_failed"),
    "402": (GiveUp, "provider.quota_exceeded"),
    "403": (GiveUp, "provider.permission_denied"),
    "404": (GiveUp, "provider.model_not_found"),
    "408": (RetryLater, "provider.timeout"),
    "409": (RetryLater, "provider.unavailable"),
    "422": (GiveUp, "provider.invalid_request"),
    "425": (RetryLater, "provider.unavailable"),
    "429": (RetryLater, "provider.rate_limited"),
    "429-date": (RetryLater, "provider.rate_limited"),
    "500": (RetryLater, "provider.unavailable"),
    "503": (RetryLater, "provider.unavailable"),
    "529": (RetryLater, "provider.overloaded"),
    "bad-key": (GiveUp, "provider.auth_failed"),
    "insufficient_quota": (GiveUp, "provider.quota_exceeded"),
    "policy": (GiveUp, "provider.content_refused"),
    "refusal": (GiveUp, "provider.content_refused"),
    "length-empty": (GiveUp, "provider.output_truncated"),
    "context-too-long": (GiveUp, "provider.context_too_long"),
    "cut-body": (RetryLater, "provider.connection_failed"),
    "reset": (RetryLater, "provider.connection_failed"),
    "html": (RetryLater, "provider.bad_response"),
    "bad-json": (RetryLater, "provider.bad_response"),
    "empty-json": (RetryLater, "provider.bad_response"),
    "redirect": (RetryLater, "provider.bad_response"),
    "echo-key": (GiveUp, "provider.auth_failed"),
}


def _scenarios(provider: str) -> list[str]:
    # Ollama has no word for a refusal: its models say so in the text.
    return [name for name in OUTCOMES if (provider, name) != ("ollama", "refusal")]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_failure_becomes_its_outcome_after_one_attempt(provider, ask_provider, server):
    seen = {}
    for scenario in _scenarios(provider):
        with pytest.raises(JobError) as caught:
            ask_provider(provider, f"m+{scenario}")
        seen[scenario] = (type(caught.value), caught.value.code)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert len(caught.value.message) <= 300
    assert seen == {scenario: OUTCOMES[scenario] for scenario in _scenarios(provider)}
    assert len(server.calls) == len(seen)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("scenario", ["429", "429-date"])
def test_a_wait_that_the_provider_names_reaches_the_retry(provider, scenario, ask_provider):
    with pytest.raises(RetryLater) as caught:
        ask_provider(provider, f"m+{scenario}")
    assert caught.value.after_seconds == pytest.approx(RETRY_AFTER_SECONDS, abs=2)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_the_provider_repeats_is_not_in_the_error(provider, ask_provider, server):
    with pytest.raises(GiveUp) as caught:
        ask_provider(provider, "sc-echo-key", key="a.plain!looking~key")
    assert server.calls[-1].key == "a.plain!looking~key"
    assert "a.plain" not in repr(caught.value)
    assert "[redacted]" in caught.value.message


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_cut_at_the_limit_is_a_success_that_says_so(provider, ask_provider):
    answer = ask_provider(provider, "m+length-text")
    assert answer.finish_reason == "length"
    assert answer.text == "m+length-text says: how are you"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_without_usage_counts_no_tokens(provider, ask_provider):
    answer = ask_provider(provider, "m+no-usage")
    assert answer.text == "m+no-usage says: how are you"
    assert answer.tokens_in == 0


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("scenario", ["drip", "hang"])
def test_the_deadline_holds_to_the_last_byte(provider, scenario, ask_provider, server):
    ask_provider(provider)  # the SDK's import is not part of the call
    server.drip_seconds = 0.02
    with pytest.raises(RetryLater) as caught:
        ask_provider(provider, f"m+{scenario}", deadline_seconds=0.4)
    assert caught.value.code == "provider.timeout"
    server.wait_until_idle(timeout=3)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_listening_is_a_failed_connection(provider, ask_provider, server):
    server.__exit__(None, None, None)
    with pytest.raises(RetryLater) as caught:
        ask_provider(provider)
    assert caught.value.code == "provider.connection_failed"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_that_recovers_answers_the_next_call(provider, ask_provider, server):
    server.script("m", ["500", "reset", "ok"])
    for code in ["provider.unavailable", "provider.connection_failed"]:
        with pytest.raises(RetryLater) as caught:
            ask_provider(provider)
        assert caught.value.code == code
    assert ask_provider(provider).text == "m says: how are you"
    assert {call.key for call in server.calls} == {KEY}
