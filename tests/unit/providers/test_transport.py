import json
import socket
import subprocess
import sys
import threading

import httpx2
import pytest

from app.errors import GiveUp, RetryLater
from app.http.deadline import DeadlineBackend, allow_calls, refuse_calls, total_deadline
from app.providers import asking, google, outcomes
from app.providers.transport import http_client


def test_the_shared_client_is_one_and_keeps_the_deadline():
    assert http_client() is http_client()
    pool = http_client()._transport._pool
    assert isinstance(pool._network_backend, DeadlineBackend)


def test_googles_client_uses_our_session():
    client = google._client("google", "http://127.0.0.1:9")
    assert isinstance(client.transport._session, google._Session)


def test_a_server_that_reads_slowly_does_not_outlast_the_deadline():
    client, content = http_client(), b"x" * 50_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.settimeout(30)
        done = threading.Event()

        def sip() -> None:
            sender, _ = listener.accept()
            with sender:
                while not done.wait(0.05):
                    sender.recv(1024)

        reader = threading.Thread(target=sip)
        reader.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            with total_deadline(2.0), pytest.raises(httpx2.WriteTimeout):
                client.post(url, content=content, timeout=30)
        finally:
            done.set()
            reader.join()


def test_deadlines_nest_and_the_nearer_one_holds(server):
    with total_deadline(0.2), total_deadline(60), pytest.raises(httpx2.ReadTimeout):
        http_client().post(
            f"{server.url}/ollama/api/chat",
            json={"model": "sc-hang", "messages": [{"role": "user", "content": "hi"}]},
            timeout=30,
        )
    assert http_client().post(f"{server.url}/nowhere", timeout=5).status_code == 404


def test_an_endless_answer_is_cut_and_counts_as_garbage(ask_provider, monkeypatch):
    monkeypatch.setattr(asking, "MAX_TEXT_RESPONSE_BYTES", 1000)
    assert ask_provider("openai", text="short").text
    for provider in ["openai", "anthropic", "google", "ollama"]:
        with pytest.raises(RetryLater) as caught:
            ask_provider(provider, text="long " * 1000)
        assert caught.value.code == "provider.bad_response"


def test_a_name_that_nobody_has_is_a_failed_connection():
    with pytest.raises(httpx2.ConnectError) as caught:
        http_client().get("http://nobody.invalid/", timeout=5)
    assert outcomes.judge_error(caught.value, "ollama").code == "provider.connection_failed"


def test_a_bug_of_ours_is_logged_without_the_key_and_tried_again():
    outcome = outcomes.judge_error(KeyError("secret-of-somebody"), "openai", "secret-of-somebody")
    assert outcome.code == "provider.unexpected_error"
    assert "secret-of-somebody" not in str(outcome)


def test_a_handshake_that_never_comes_does_not_outlast_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with total_deadline(0.2), pytest.raises(httpx2.ConnectTimeout):
            http_client().get(url, timeout=30)


def test_a_host_is_reached_at_the_first_address_that_listens(server, monkeypatch):
    backend = http_client()._transport._pool._network_backend
    monkeypatch.setattr(backend, "_resolve", lambda host, port: ["127.0.0.2", "127.0.0.1"])
    url = server.url.replace("127.0.0.1", "some.host")
    assert http_client().post(f"{url}/nowhere", timeout=5).status_code == 404


def test_after_a_fork_the_child_has_connections_of_its_own():
    # In a process of its own: forking one with threads is unsafe, and Python says so.
    code = (
        "import os; from app.providers.transport import http_client;"
        "before = http_client(); child = os.fork();"
        "kept = http_client() is before;"
        "child and os.waitpid(child, 0);"
        "print('parent' if child else 'child', kept)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["child False", "parent True"]


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [(1, "stop"), (2, "length"), (3, "refused"), ("STOP", "stop"), (99, "unknown")],
)
def test_google_may_write_its_reasons_as_numbers(finish_reason, expected):
    body = {
        "candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "finishReason": finish_reason}]
    }
    reply = google._reply(google.gemini.GenerateContentResponse.from_json(json.dumps(body)))
    assert (reply.text, reply.finish_reason) == ("ab", expected)


def test_a_google_model_can_not_bend_the_path(ask_provider, server):
    for name in ["m/../../other", "m?key=x", "m#"]:
        with pytest.raises(GiveUp) as caught:
            ask_provider("google", name)
        assert caught.value.code == "provider.model_not_found"
    assert server.calls == []


def test_a_thread_that_nobody_wants_anything_of_makes_no_call_until_it_is_at_something_else(server):
    url = f"{server.url}/nowhere"
    refuse_calls(threading.get_ident())
    try:
        with total_deadline(5), pytest.raises(httpx2.TimeoutException):
            http_client().post(url, timeout=5)
    finally:
        allow_calls(threading.get_ident())
    assert server.calls == []
    assert http_client().post(url, timeout=5).status_code == 404
