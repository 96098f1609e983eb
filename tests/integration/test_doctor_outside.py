"""`lf-worker doctor` asks what lies outside the database: Realtime, and with --online the providers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from app.cli.doctor import realtime
from app.cli.doctor.accounts import ACCOUNTS
from app.cli.doctor.command import examine
from app.cli.doctor.finding import Finding, Level
from app.cli.main import app
from app.local.provider_server import ProviderServer
from app.phoenix.channel import Timing
from tests.doubles.realtime_server import RealtimeServer

pytestmark = pytest.mark.usefixtures("dsn")

KEYS = {
    "openai": "OPENAI",
    "anthropic": "ANTHROPIC",
    "google": "GOOGLE_AI",
    "google_vertex": "GOOGLE_VERTEX",
    "mistral": "MISTRAL",
    "deepseek": "DEEPSEEK",
    "stability": "STABILITY",
    "elevenlabs": "ELEVENLABS",
    "kling": "KLING",
    "suno": "SUNO",
    "fal": "FAL",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealtimeServer]:
    with RealtimeServer() as started:
        monkeypatch.setenv("SUPABASE_URL", started.url)
        monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", started.key)
        monkeypatch.setattr(realtime, "PATIENCE", Timing(connect=1.0, join=0.5, subscribe=0.5))
        monkeypatch.setattr(realtime, "TOTAL_SECONDS", 2.0)
        yield started


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as started:
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        for provider, name in KEYS.items():
            monkeypatch.setenv(f"{name}_API_KEY", key_of(provider))
        yield started


def key_of(provider: str) -> str:
    return f"sk-planted-{provider}-0123456789"


def found(area: str, *, online: bool = False) -> list[Finding]:
    return [finding for finding in examine(online=online) if finding.area == area]


def test_realtime_that_lets_the_worker_join_is_fine(server: RealtimeServer) -> None:
    (finding,) = found("realtime")
    assert finding.level is Level.FINE
    assert server.url in finding.what
    assert (server.seen.joins, server.seen.subscriptions) == (1, 1)


def test_without_realtime_the_notifications_are_named() -> None:
    (finding,) = found("realtime")
    assert (finding.level, finding.what) == (Level.FINE, "hints come from the database's own notifications")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong key", "HTTP 401"),
        ("away", "Connect call failed"),
        ("refuses joins", "the join was refused: InitializingProjectConnection"),
        ("never subscribes", "waited too long for the subscription"),
        ("deaf", "waited too long for the join's answer"),
    ],
    ids=["wrong key", "away", "refuses joins", "never subscribes", "deaf"],
)
def test_realtime_that_can_not_be_heard_is_named_with_its_reason(
    server: RealtimeServer, fault: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviour.refuse_joins = fault == "refuses joins"
    server.behaviour.never_subscribe = fault == "never subscribes"
    server.behaviour.is_deaf = fault == "deaf"
    if fault == "wrong key":
        monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "sb-planted-0123456789")
    if fault == "away":
        server.go_away()
    (finding,) = found("realtime")
    server.behaviour.is_deaf = False
    assert finding.level is Level.WARNING
    assert reason in finding.what
    assert "WORKER_REALTIME_SOURCE=postgres" in finding.mend
    assert "sb-planted" not in str(finding)


def test_every_provider_with_a_key_can_be_asked_and_every_key_is_accepted(providers: ProviderServer) -> None:
    assert set(KEYS) == set(ACCOUNTS)
    accepted = found("accounts", online=True)
    assert {finding.what: finding.level for finding in accepted} == {
        f"{provider} accepts the key": Level.FINE for provider in ACCOUNTS
    }


@pytest.mark.parametrize("provider", sorted(ACCOUNTS))
def test_a_key_that_is_not_accepted_is_named_and_not_shown(providers: ProviderServer, provider: str) -> None:
    providers.refused_keys.add(key_of(provider))
    (finding,) = [finding for finding in found("accounts", online=True) if finding.level is not Level.FINE]
    assert finding.level is Level.BROKEN
    assert finding.what.startswith(f"the key for {provider} is not accepted")
    assert "dead-letters replay" in finding.mend


def test_no_key_is_printed_and_none_leaves_without_online(providers: ProviderServer) -> None:
    providers.refused_keys.update(map(key_of, KEYS))
    assert found("accounts") == []
    result = CliRunner().invoke(app, ["doctor", "--online", "--json"])
    assert result.exit_code == 2
    assert len([f for f in json.loads(result.output)["findings"] if f["area"] == "accounts"]) == len(KEYS)
    assert "sk-planted" not in result.output


def test_a_key_that_no_header_takes_and_a_host_that_is_away_are_named(
    providers: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted with a blank")
    monkeypatch.setenv("MISTRAL_BASE_URL", "http://127.0.0.1:1")
    whats = [finding.what for finding in found("accounts", online=True)]
    assert any("openai is not accepted: the API key holds characters" in what for what in whats)
    assert "mistral can't be reached: ConnectError" in whats
    assert not any("planted" in what for what in whats)
