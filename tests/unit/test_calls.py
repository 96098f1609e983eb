"""Calls to providers are measured where they are made and collected by the thread that makes them."""

from __future__ import annotations

import threading

import pytest

from app.calls import Call, call_parameters, collect_calls, measured
from app.errors import GiveUp


def test_a_call_is_collected_with_its_time_and_tokens() -> None:
    calls: list[Call] = []
    with collect_calls(calls), measured("openai", "gpt-4o", "answer") as call:
        call.tokens_in, call.tokens_out = 7, 11
    assert [(c.provider, c.model, c.tokens_in, c.tokens_out, c.error_code) for c in calls] == [
        ("openai", "gpt-4o", 7, 11, None)
    ]
    assert 0 <= calls[0].duration_ms < 1_000


@pytest.mark.parametrize(
    ("error", "code"),
    [(GiveUp("provider.auth_failed", "no"), "provider.auth_failed"), (ValueError(), "worker.internal_error")],
    ids=["foreseen", "unforeseen"],
)
def test_a_call_that_fails_keeps_its_code_and_raises(error: Exception, code: str) -> None:
    calls: list[Call] = []
    with pytest.raises(type(error)), collect_calls(calls), measured("openai", "gpt-4o", "answer"):
        raise error
    assert [call.error_code for call in calls] == [code]


def test_threads_collect_their_own_calls_only() -> None:
    mine: list[Call] = []

    def call_elsewhere() -> None:
        with measured("anthropic", "claude", "answer"):
            pass

    with collect_calls(mine):
        thread = threading.Thread(target=call_elsewhere)
        thread.start()
        thread.join()
    call_elsewhere()
    assert mine == []


def test_calls_are_told_with_their_age() -> None:
    calls: list[Call] = []
    with collect_calls(calls), measured("openai", "gpt-4o", "poll"):
        pass
    told = call_parameters(calls)
    assert told is not None
    assert 0 <= told.adapted[0]["age_ms"] < 1_000
    assert call_parameters([]) is None
