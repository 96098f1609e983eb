"""A webhook from its row in the outbox to its receiver, in a real worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from standardwebhooks import Webhook

from app.database import Database
from app.local.receiver import Receiver
from app.webhooks.outbox import add_webhook
from app.webhooks.signing import platform_signature, standard_key
from tests.integration.webhooks.rows import add_row, attempts, ended, execute, find
from tests.sql import call
from tests.waiting import eventually

both_profiles = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


@both_profiles
def test_a_row_is_delivered_once_and_signed_in_every_way(
    platform_secret: str, worker: None, receiver: Receiver, connection: Connection
) -> None:
    row = ended(connection, add_row(connection, receiver.url("/hook"), {"b": 1, "a": "ö"}))
    (request,) = receiver.requests
    assert (row["attempts"], row["last_error"], row["state"]) == (1, None, "delivered")
    assert request.body == '{"a": "ö", "b": 1}'.encode()
    assert request.id == str(row["id"])
    Webhook(standard_key(platform_secret)).verify(request.body, dict(request.headers))
    for prefix in ("x-lf", "x-lenserfight"):
        assert request.headers[f"{prefix}-signature"] == platform_signature(platform_secret, request.body)
    assert (
        request.headers["x-lf-event-type"] == request.headers["x-lenserfight-webhook"] == "moderation_flagged"
    )
    assert request.headers["x-lf-delivery-id"] == str(row["id"])
    (attempt,) = attempts(connection, row["id"])
    assert (attempt["status"], attempt["error_code"]) == (204, None)


def test_without_a_secret_it_says_that_it_is_unsigned(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    ended(connection, add_row(connection, receiver.url()))
    headers = receiver.requests[0].headers
    assert headers["x-lenserfight-signature"] == headers["x-lf-signature"] == "unsigned"
    assert "webhook-signature" not in headers


def test_strict_signing_puts_off_what_it_can_not_sign(
    receiver: Receiver, connection: Connection, superuser: Connection, request: pytest.FixtureRequest
) -> None:
    name = call(superuser, "SELECT current_database()")
    execute(superuser, f"ALTER DATABASE \"{name}\" SET app.webhook_strict_signing = 'true'")
    request.getfixturevalue("worker")
    webhook = add_row(connection, receiver.url())
    row = eventually(lambda: (found := find(connection, webhook))["last_error"] and found, what="putting off")
    assert row["last_error"] == "strict_signing_no_secret"
    assert (row["attempts"], row["state"], receiver.requests) == (0, "waiting", [])
    assert call(connection, "SELECT next_attempt_at > now() + interval '4 minutes' FROM audit.webhook_outbox")


def test_failures_are_tried_again_under_the_same_id(
    platform_secret: str, worker: None, receiver: Receiver, connection: Connection
) -> None:
    receiver.script("/hook", ["503", "reset"])
    row = ended(connection, add_row(connection, receiver.url("/hook")))
    assert (row["attempts"], row["state"]) == (3, "delivered")
    assert {request.id for request in receiver.requests} == {str(row["id"])}
    assert [attempt["status"] for attempt in attempts(connection, row["id"])] == [503, None, 204]
    assert [attempt["error_code"] for attempt in attempts(connection, row["id"])] == [
        "webhook.status_503",
        "http.broken_response",
        None,
    ]
    assert call(connection, "SELECT array_agg(outcome) FROM worker.claims") == ["succeeded"]
    assert call(connection, "SELECT failing_since FROM worker.webhook_endpoints") is None
    eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="the last ack")


@pytest.mark.parametrize(
    ("scenario", "calls", "error"),
    [
        ("500", 4, "webhook.exhausted: given up after 4 attempts: the endpoint answered 500"),
        ("redirect", 4, "webhook.exhausted: given up after 4 attempts: the endpoint answered 302"),
        ("400", 1, "webhook.status_400: the endpoint answered 400"),
    ],
)
def test_what_can_not_be_delivered_becomes_a_dead_letter(
    scenario: str, calls: int, error: str, worker: None, receiver: Receiver, connection: Connection
) -> None:
    receiver.behave("/hook", scenario)
    row = ended(connection, add_row(connection, receiver.url("/hook")))
    assert (row["delivered_at"], row["last_error"], row["state"]) == (None, error, "dead")
    assert [request.path for request in receiver.requests] == ["/hook"] * calls
    assert len(attempts(connection, row["id"])) == calls
    assert call(connection, "SELECT error_code FROM worker.dead_letters") == error.partition(":")[0]


def test_what_an_endpoint_says_is_kept_without_secrets(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    receiver.behave("/hook", "500")
    webhook = add_row(connection, receiver.url("/hook"))
    ended(connection, webhook)
    assert attempts(connection, webhook)[0]["response_head"] == "Traceback: [redacted] leaked"


def test_a_410_disables_the_endpoint_and_stops_what_waits_for_it(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    receiver.behave("/gone", "410")
    later = add_row(connection, receiver.url("/gone"))
    assert ended(connection, later)["last_error"].startswith("webhook.gone")
    other = add_row(connection, receiver.url("/gone"))
    assert ended(connection, other)["last_error"].startswith("webhook.endpoint_disabled: webhook.gone")
    assert len(receiver.requests) == 1
    assert ended(connection, add_row(connection, receiver.url("/well")))["state"] == "delivered"


def test_an_endpoint_that_fails_for_five_days_is_disabled_with_all_that_waits(
    receiver: Receiver, connection: Connection, request: pytest.FixtureRequest
) -> None:
    receiver.behave("/hook", "500")
    url = receiver.url("/hook")
    execute(
        connection,
        "INSERT INTO worker.webhook_endpoints (endpoint, failures, failing_since)"
        " VALUES (%s, 50, now() - interval '5 days 1 minute')",
        url,
    )
    rows = [add_row(connection, url) for _ in range(20)]
    request.getfixturevalue("worker")
    errors = [ended(connection, row)["last_error"] for row in rows]
    assert sum(error.startswith("webhook.endpoint_failing") for error in errors) <= 4
    assert all("failing for five days" in error for error in errors)
    assert len(receiver.requests) <= 4
    assert call(connection, "SELECT disabled_reason FROM worker.webhook_endpoints").startswith(
        "webhook.endpoint_failing: failing for five days, lastly: the endpoint answered 500"
    )


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://10.0.0.1/hook", "http.refused_address"),
        ("https://169.254.169.254/latest/meta-data", "http.refused_address"),
        ("https://[::ffff:127.0.0.1]/", "http.refused_address"),
        ("ftp://example.com/", "http.refused_url"),
        ("not a url", "http.refused_url"),
    ],
)
def test_a_url_that_leads_inside_is_never_dialled(
    url: str, error: str, worker: None, connection: Connection
) -> None:
    assert ended(connection, add_row(connection, url))["last_error"].startswith(error)


def test_a_hanging_endpoint_takes_four_slots_and_delays_nobody(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    with Receiver(host="127.0.0.9") as hanging:
        hanging.hold()
        execute(
            connection,
            "INSERT INTO audit.webhook_outbox (event_type, payload, target_url)"
            " SELECT 'x', '{}', %s FROM generate_series(1, 500)",
            hanging.url(),
        )
        hanging.wait_for_requests(4)
        for _ in range(20):
            ended(connection, add_row(connection, receiver.url("/well")))
        assert (len(hanging.requests), hanging.max_in_flight) == (4, 4)
        hanging.release()
        left = "SELECT count(*) FROM audit.webhook_outbox WHERE delivered_at IS NULL"
        eventually(lambda: call(connection, left) == 0, what="every delivery")
        assert hanging.max_in_flight == 4
        assert len({request.id for request in hanging.requests}) == len(hanging.requests) == 500


def test_a_retry_after_is_waited_for(worker: None, receiver: Receiver, connection: Connection) -> None:
    receiver.script("/hook", ["429"])
    ended(connection, add_row(connection, receiver.url("/hook")))
    first, second = receiver.requests
    assert 1.9 <= second.received_at - first.received_at < 4


def test_a_slow_drip_ends_at_the_deadline(worker: None, receiver: Receiver, connection: Connection) -> None:
    receiver.script("/hook", ["drip"])
    webhook = add_row(connection, receiver.url("/hook"))
    ended(connection, webhook)
    timed_out: dict[str, Any] = attempts(connection, webhook)[0]
    assert timed_out["error_code"] == "http.timeout"
    assert 2_900 <= timed_out["duration_ms"] < 4_000


def test_the_platforms_switch_holds_everything_back(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    switch = "UPDATE platform.system_flags SET value = %s WHERE key = 'webhook_outbox_enabled'"
    execute(connection, switch, "false")
    webhook = add_row(connection, receiver.url())
    eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="the burnt ticket")
    assert call(connection, "SELECT fn_dispatch_webhook_outbox()") == 0
    execute(connection, switch, "true")
    assert call(connection, "SELECT fn_dispatch_webhook_outbox()") == 1
    assert ended(connection, webhook)["state"] == "delivered"


def test_json_arrives_as_the_platform_has_always_sent_it(
    worker: None, receiver: Receiver, connection: Connection
) -> None:
    payload = {"long_key": [1, 2.50, None, True], "k": {"quote": '"', "nul": "\\u0000"}}
    ended(connection, add_row(connection, receiver.url(), payload))
    body = receiver.requests[0].body
    assert body.decode() == call(connection, "SELECT payload::text FROM audit.webhook_outbox")
    assert json.loads(body) == payload


def test_what_a_job_adds_in_its_transaction_is_sent_once_that_commits(
    worker: None, receiver: Receiver, connection: Connection, jobs_database: Database
) -> None:
    with jobs_database.transaction() as tx:
        webhook = add_webhook(tx, event_type="node.finished", payload=[1], target_url=receiver.url())
    assert ended(connection, webhook)["state"] == "delivered"
    with pytest.raises(LookupError), jobs_database.transaction() as tx:
        add_webhook(tx, event_type="node.finished", payload=[2], target_url=receiver.url())
        raise LookupError
    assert [request.body for request in receiver.requests] == [b"[1]"]
