"""`lf-worker webhooks`, on webhooks that arrived and webhooks that didn't."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest
import structlog
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.cli.webhooks import app
from app.errors import SettingsError
from app.local.receiver import Receiver
from tests.integration.webhooks.rows import add_row, ended, execute, find
from tests.sql import call


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


@pytest.fixture(autouse=True)
def quiet_worker() -> Iterator[None]:
    """The worker of these tests runs in their own process: its log must not mix with what commands print."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def dead(worker: None, receiver: Receiver, connection: Connection) -> list[str]:
    """Three dead letters of an endpoint that has come to its senses since."""
    receiver.script("/hook", ["400"] * 3)
    rows = [add_row(connection, receiver.url("/hook")) for _ in range(3)]
    for row in rows:
        ended(connection, row)
    return [str(row) for row in rows]


def test_webhooks_are_listed_without_their_payloads(
    dead: list[str], receiver: Receiver, connection: Connection
) -> None:
    ended(connection, add_row(connection, receiver.url("/well"), {"private": "matter"}))
    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [row["state"] for row in listed] == ["delivered", "dead", "dead", "dead"]
    assert [json.loads(line)["id"] for line in run("list", "--state", "dead", "--json").splitlines()] == dead[
        ::-1
    ]
    assert "matter" not in run("list") + run("list", "--json")
    assert "No webhooks" in run("list", "--endpoint", "https://nobody.example/")


def test_one_is_shown_with_its_attempts(dead: list[str]) -> None:
    shown = json.loads(run("show", dead[0]))
    assert (shown["state"], shown["attempts"]) == ("dead", 1)
    (attempt,) = shown["attempts_made"]
    assert (attempt["status"], attempt["response_head"]) == (400, '{"error":"no such field"}')


def test_a_replay_goes_out_under_the_same_id_and_is_recorded(
    dead: list[str], receiver: Receiver, connection: Connection
) -> None:
    assert run("replay", "--endpoint", receiver.url("/hook"), "--spread", "0.2") == "3 replayed\n"
    for row in dead:
        assert ended(connection, row)["state"] == "delivered"
        assert [request.id for request in receiver.requests].count(row) == 2
    assert (
        call(connection, "SELECT count(*) FROM worker.webhook_replays WHERE last_error LIKE 'webhook.%%'")
        == 3
    )
    spread = "SELECT round(extract(epoch FROM max(due_at) - min(due_at)) * 10) FROM worker.webhook_replays"
    assert 1 <= call(connection, spread) <= 4
    assert call(connection, "SELECT count(*) FROM worker.dead_letters") == 0


def test_what_arrived_can_be_sent_again_too(
    dead: list[str], receiver: Receiver, connection: Connection
) -> None:
    row = add_row(connection, receiver.url("/well"))
    ended(connection, row)
    assert run("replay", str(row)) == "1 replayed\n"
    receiver.wait_for_requests(5)
    assert ended(connection, row)["state"] == "delivered"
    assert call(connection, "SELECT was_delivered_at IS NOT NULL FROM worker.webhook_replays")
    assert run("replay", str(uuid4())) == "0 replayed, 1 not: unknown, or being sent just now\n"


def test_a_dead_letter_is_replayed_like_any_other_job(
    dead: list[str], receiver: Receiver, connection: Connection
) -> None:
    message = call(connection, "SELECT message_id FROM worker.dead_letters WHERE job = %s", dead[0])
    assert call(connection, "SELECT worker.replay_dead_letter(%s, 0, 'me', 'again')", message)
    assert ended(connection, dead[0])["state"] == "delivered"


def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(
    receiver: Receiver, connection: Connection, request: pytest.FixtureRequest
) -> None:
    url = receiver.url("/hook")
    rows = [add_row(connection, url) for _ in range(5)]
    assert run("disable", url, "--reason", "they asked") == "disabled, 5 waiting webhooks stopped\n"
    request.getfixturevalue("worker")
    late = ended(connection, add_row(connection, url))
    assert late["last_error"].startswith("webhook.endpoint_disabled: they asked (")
    assert receiver.requests == []
    assert run("enable", url) == "enabled\n"
    run("replay", "--endpoint", url, "--spread", "0")
    assert {ended(connection, row)["state"] for row in rows} == {"delivered"}


def test_what_can_not_be_meant_is_one_line(connection: Connection) -> None:
    for arguments in (
        ["replay"],
        ["show", "nonsense"],
        ["show", str(uuid4())],
        ["enable", "x"],
        ["list", "--state", "odd"],
    ):
        with pytest.raises(SettingsError):
            run(*arguments)


def test_a_webhook_that_is_being_sent_is_not_replayed(connection: Connection) -> None:
    row = add_row(connection, "https://example.com/")
    execute(connection, "UPDATE worker.webhook_deliveries SET state = 'sending'")
    assert run("replay", str(row)).startswith("0 replayed, 1 not")
    assert find(connection, row)["state"] == "sending"
