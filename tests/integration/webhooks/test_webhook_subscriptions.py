"""Battles' changes of status, told to whoever subscribed to them."""

from __future__ import annotations

import json
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from standardwebhooks import Webhook, WebhookVerificationError

from app.local.platform import Seeded
from app.local.receiver import Receiver
from app.webhooks.signing import platform_signature, standard_key
from tests.integration.webhooks.rows import (
    add_battle,
    add_row,
    attempts,
    change_status,
    ended,
    execute,
    find,
    subscribe,
)
from tests.sql import call, sqlstate_of

both_profiles = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])

WEBHOOKS = "SELECT array_agg(id ORDER BY created_at) FROM audit.webhook_outbox"


@pytest.fixture
def battle(seeded: Seeded, connection: Connection) -> UUID:
    return add_battle(connection, invite_code="let-me-in")


def secret_of(connection: Connection, subscription: UUID) -> str:
    secret = "SELECT secret_hmac FROM battles.battle_event_subscriptions WHERE id = %s"
    return str(call(connection, secret, subscription))


@both_profiles
def test_a_subscriber_hears_of_a_change_of_status(
    worker: None, receiver: Receiver, connection: Connection, battle: UUID
) -> None:
    subscription = subscribe(connection, battle, receiver.url("/mine"))
    change_status(connection, battle, "open")
    (webhook,) = call(connection, WEBHOOKS)
    assert ended(connection, webhook)["state"] == "delivered"
    (request,) = receiver.requests
    secret = secret_of(connection, subscription)
    Webhook(standard_key(secret)).verify(request.body, dict(request.headers))
    assert request.headers["x-lf-signature"] == platform_signature(secret, request.body)
    body = json.loads(request.body)
    assert (body["event_type"], body["battle_id"]) == ("status_change", str(battle))
    assert body["payload"]["status"] == "open"
    assert b"let-me-in" not in request.body
    assert set(body) == {"event_type", "battle_id", "payload", "delivered_at"}


def test_a_row_that_the_platform_wrote_itself_is_taken_over_and_not_doubled(
    worker: None, receiver: Receiver, connection: Connection, battle: UUID
) -> None:
    if call(
        connection,
        "SELECT prosrc LIKE '%%subscription_id,%%' FROM pg_proc WHERE proname = 'fn_battles_notify_webhooks'",
    ):
        pytest.skip("this platform's own fan-out fails")
    subscription = subscribe(connection, battle, receiver.url("/mine"))
    execute(connection, "UPDATE battles.battle_event_subscriptions SET event_types = '{status_change}'")
    change_status(connection, battle, "open")
    (webhook,) = call(connection, WEBHOOKS)
    ended(connection, webhook)
    assert find(connection, webhook)["endpoint"] == str(subscription)
    Webhook(standard_key(secret_of(connection, subscription))).verify(
        receiver.requests[0].body, dict(receiver.requests[0].headers)
    )


@pytest.mark.parametrize("platform_profile", ["faulty"])
def test_the_platforms_own_subscribing_and_telling_fail_today(connection: Connection, battle: UUID) -> None:
    own = "SELECT public.fn_battles_subscribe_webhook(%s, 'https://example.com', '{status_change}')"
    assert sqlstate_of(connection, own, battle) == "42883"
    subscribe(connection, battle, "https://example.com")
    execute(connection, "UPDATE battles.battle_event_subscriptions SET event_types = '{status_change}'")
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        change_status(connection, battle, "open")


def test_only_events_that_were_asked_for_are_told(
    receiver: Receiver, connection: Connection, battle: UUID
) -> None:
    subscribe(connection, battle, receiver.url("/votes"), "vote_cast")
    change_status(connection, battle, "open")
    assert call(connection, WEBHOOKS) is None


@both_profiles
def test_a_revoked_subscription_gets_nothing_more_not_even_what_waits(
    receiver: Receiver, connection: Connection, battle: UUID, request: pytest.FixtureRequest
) -> None:
    subscribe(connection, battle, receiver.url("/mine"))
    change_status(connection, battle, "open")
    execute(connection, "UPDATE battles.battle_event_subscriptions SET revoked_at = now()")
    request.getfixturevalue("worker")
    (webhook,) = call(connection, WEBHOOKS)
    assert ended(connection, webhook)["last_error"] == "webhook.subscription_revoked"
    change_status(connection, battle, "archived")
    assert len(call(connection, WEBHOOKS)) == 1
    assert (receiver.requests, attempts(connection, webhook)) == ([], [])


def test_a_replaced_secret_signs_beside_the_new_one_for_a_day(
    receiver: Receiver, connection: Connection, battle: UUID, request: pytest.FixtureRequest
) -> None:
    subscription = subscribe(connection, battle, receiver.url("/mine"))
    old = secret_of(connection, subscription)
    new = "f" * 64
    execute(connection, "UPDATE battles.battle_event_subscriptions SET secret_hmac = %s", new)
    request.getfixturevalue("worker")
    change_status(connection, battle, "open")
    ended(connection, call(connection, WEBHOOKS)[0])
    for secret in (old, new):
        Webhook(standard_key(secret)).verify(receiver.requests[0].body, dict(receiver.requests[0].headers))
    execute(connection, "UPDATE worker.webhook_previous_secrets SET live_until = now()")
    change_status(connection, battle, "archived")
    ended(connection, call(connection, WEBHOOKS)[1])
    with pytest.raises(WebhookVerificationError):
        Webhook(standard_key(old)).verify(receiver.requests[1].body, dict(receiver.requests[1].headers))


def test_a_subscription_of_many_is_not_silenced_by_another_at_the_same_url(
    worker: None, receiver: Receiver, connection: Connection, battle: UUID
) -> None:
    both = [subscribe(connection, battle, receiver.url("/shared")) for _ in range(2)]
    change_status(connection, battle, "open")
    webhooks = call(connection, WEBHOOKS)
    for webhook in webhooks:
        ended(connection, webhook)
    assert {find(connection, webhook)["endpoint"] for webhook in webhooks} == set(map(str, both))


@both_profiles
@pytest.mark.parametrize("broken", ["webhook_deliveries", "kinds"])
def test_whatever_is_wrong_with_us_the_platform_writes_on(
    broken: str, connection: Connection, battle: UUID
) -> None:
    subscribe(connection, battle, "https://example.com/hook")
    execute(connection, f"ALTER TABLE worker.{broken} RENAME TO broken")
    change_status(connection, battle, "open")
    add_row_blindly = (
        "INSERT INTO audit.webhook_outbox (event_type, payload, target_url) VALUES ('x', '{}', 'y')"
    )
    execute(connection, add_row_blindly)
    assert call(connection, "SELECT status FROM battles.battles WHERE id = %s", battle) == "open"
    assert any("lf-worker" in notice for notice in connection.notices)


def test_rows_that_no_trigger_told_of_are_found_by_the_sweep(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    execute(connection, "ALTER TABLE audit.webhook_outbox DISABLE TRIGGER USER")
    rows = [add_row(connection, receiver.url("/hook")) for _ in range(7)]
    assert call(connection, "SELECT fn_dispatch_webhook_outbox()") == 4
    assert {ended(connection, row)["state"] for row in rows} == {"delivered"}
    assert call(connection, "SELECT fn_dispatch_webhook_outbox()") == 0


def test_a_row_that_a_person_set_back_is_delivered_again(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    receiver.script("/hook", ["400"])
    row = add_row(connection, receiver.url("/hook"))
    ended(connection, row)
    execute(connection, "UPDATE audit.webhook_outbox SET dead_lettered_at = NULL, next_attempt_at = now()")
    call(connection, "SELECT fn_dispatch_webhook_outbox()")
    assert ended(connection, row)["state"] == "delivered"


def test_delayed_tickets_do_not_hide_missing_ones(connection: Connection) -> None:
    for number in range(5):
        webhook = add_row(connection, f"https://host-{number}.example.com/")
        execute(connection, "UPDATE worker.webhook_deliveries SET due_at = now() + interval '1 hour'")
        call(connection, "SELECT worker.write_webhook_tickets(ARRAY[%s])", webhook)
    execute(connection, "DELETE FROM dramatiq.queue WHERE mtime <= now()")
    assert call(connection, "SELECT worker.add_missing_tickets('webhook_delivery')") == 0
    execute(connection, "UPDATE worker.webhook_deliveries SET due_at = now() WHERE host LIKE 'host-1%%'")
    assert call(connection, "SELECT worker.add_missing_tickets('webhook_delivery')") == 1
    assert call(connection, "SELECT worker.add_missing_tickets('webhook_delivery')") == 0


def test_records_of_what_ended_long_ago_are_deleted(connection: Connection) -> None:
    add_row(connection, "https://example.com/")
    ended_at = "UPDATE worker.webhook_deliveries SET state = 'dead', ended_at = now() - interval '20 days'"
    execute(connection, ended_at)
    assert call(connection, "SELECT worker.prune_webhooks(interval '30 days')") == 0
    assert call(connection, "SELECT worker.prune_webhooks(interval '14 days')") == 1
    assert call(connection, "SELECT count(*) FROM worker.webhook_deliveries") == 0
