"""The double itself: what lifecycle tests, the demo and the benchmarks lean on."""

import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import GiveUp, RetryLater
from app.local.provider_server import ProviderServer


def test_a_hundred_calls_are_in_flight_at_once(ask_provider, server):
    server.hold()
    with ThreadPoolExecutor(120) as pool:
        answers = [pool.submit(ask_provider, "ollama", deadline_seconds=60) for _ in range(120)]
        server.wait_for_calls(120, timeout=60)
        assert server.in_flight == 120
        server.release()
        assert {answer.result().text for answer in answers} == {"m says: how are you"}
    server.wait_until_idle()
    assert server.max_in_flight == 120


def test_a_held_call_ends_when_its_client_goes_away(ask_provider, server):
    server.hold()
    caller = threading.Thread(target=lambda: _fails(ask_provider))
    caller.start()
    server.wait_for_calls(1)
    caller.join()
    server.wait_until_idle(timeout=3)
    assert len(server.calls) == 1


def _fails(ask_provider):
    with pytest.raises(RetryLater, match="timeout"):
        ask_provider("ollama", deadline_seconds=0.3)


def test_latency_is_what_an_answer_takes(ask_provider, server):
    server.latency_seconds = 0.1
    assert ask_provider("ollama").latency_ms >= 100


def test_a_call_that_does_not_come_is_a_clear_error(server):
    with pytest.raises(TimeoutError, match="0 of 1 calls"):
        server.wait_for_calls(1, timeout=0.05)


def test_unknown_scenarios_are_refused():
    with ProviderServer() as server, pytest.raises(ValueError, match="no scenario is called nonsense"):
        server.script("m", ["nonsense"])


def test_a_model_that_names_no_scenario_is_told_so(ask_provider, server):
    with pytest.raises(GiveUp, match="no scenario is called 'nonsense'"):
        ask_provider("ollama", "m+nonsense")
    assert (server.calls, server.in_flight) == ([], 0)


def test_the_real_paths_only_are_answered(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}/openai/v1/completions", data=b"{}")
