"""`lf-worker status` and `lf-worker jobs show`, on claims in every state."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.calls import Call
from app.claims import Claim, open_claim
from app.cli.main import app
from app.database import Database
from app.errors import GiveUp, RetryLater, SettingsError
from app.handover import hand_back
from app.local.platform import Seeded, enqueue_lens_run
from tests.sql import call

pytestmark = pytest.mark.usefixtures("seeded")


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(result.output)


def claim(
    database: Database, connection: Connection, message_id: UUID | None = None
) -> Claim[dict[str, Any]]:
    if message_id is None:
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
        message_id = UUID(
            str(call(connection, "SELECT message_id FROM dramatiq.queue WHERE state = 'queued'"))
        )
        connection.cursor().execute("UPDATE dramatiq.queue SET state = 'consumed'")
    _, opened = open_claim(database, message_id, "lens_run", "box:1", hint=None, max_deaths=9)
    assert opened is not None
    return opened


def test_a_kinds_work_is_counted_by_state(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    claim(jobs_database, connection).finish()
    claim(jobs_database, connection).finish(outcome="failed", error=GiveUp("provider.auth_failed", "no"))
    claim(jobs_database, connection).release(RetryLater("provider.timeout", "slow"))
    claim(jobs_database, connection)
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    status = run("status")["kinds"]["lens_run"]
    counts = {name: value for name, value in status.items() if not name.endswith("_ms")}
    assert counts == {
        "queued": 1,
        "in_flight": 1,
        "retrying": 1,
        "stuck": 2,  # no process holds a lease
        "done_last_hour": 1,
        "failed_last_hour": 1,
        "dead_letters": 1,
    }
    assert 0 <= status["pickup_p50_ms"] <= status["pickup_p99_ms"] < 10_000
    assert 0 <= status["duration_p50_ms"] <= status["duration_p99_ms"]


def test_the_status_names_queues_and_workers(connection: Connection) -> None:
    call(connection, "SELECT worker.renew_lease(%s, 'box:1', 8, 30)", str(uuid4()))
    status = run("status")
    assert status["queues"]["lens_runs"]["waiting"] == 0
    assert [(w["worker_id"], w["threads"], w["alive"]) for w in status["workers"]] == [("box:1", 8, True)]
    assert "box:1" in CliRunner().invoke(app, ["status"]).output


def test_the_status_tells_how_providers_do(connection: Connection) -> None:
    connection.cursor().execute(
        """
        INSERT INTO worker.provider_calls (
            ended_at, kind, job, provider, model, purpose, duration_ms, error_code, cost_usd)
        SELECT now() - c.age, 'lens_run', gen_random_uuid(), c.provider, 'm', c.purpose, c.ms, c.error, c.usd
        FROM (VALUES
            (interval '1 minute', 'openai', 'answer', 100, NULL, 0.0125),
            (interval '2 minutes', 'openai', 'answer', 300, NULL, 0.25),
            (interval '3 minutes', 'openai', 'answer', 9000, 'provider.timeout', NULL),
            (interval '3 minutes', 'openai', 'poll', 1, NULL, NULL),
            (interval '2 hours', 'openai', 'answer', 7000, NULL, 8),
            (interval '2 hours', 'mistral', 'answer', 7000, NULL, NULL)
        ) AS c (age, provider, purpose, ms, error, usd)
        """
    )
    assert run("status")["providers"] == {
        "openai": {
            "calls_last_hour": 4,
            "errors_last_hour": 1,
            "error_rate": 0.25,
            "latency_p50_ms": 200,
            "latency_p99_ms": 298,
            "most_frequent_error": "provider.timeout",
            "cost_last_hour_usd": 0.2625,
        }
    }
    told = CliRunner().invoke(app, ["status"]).output
    for word in ("openai", "25.0%", "200/298", "0.2625", "provider.timeout"):
        assert word in told


def test_a_jobs_story_has_every_attempt(jobs_database: Database, connection: Connection) -> None:
    first = claim(jobs_database, connection)
    first.release(RetryLater("provider.timeout", "slow"))
    hand_back(jobs_database, [claim(jobs_database, connection, first.message_id)])
    claim(jobs_database, connection, first.message_id)  # its worker dies
    last = claim(jobs_database, connection, first.message_id)
    last.calls.append(Call("openai", "gpt-4o", "answer", tokens_in=100_000, ended=time.monotonic()))
    last.finish()
    story = run("jobs", "show", str(first.job_id))
    assert [(entry["attempt"], entry["ended"]) for entry in story["history"]] == [
        (1, "error"),
        (2, "handed_back"),
        (3, "death"),
    ]
    assert story["history"][0]["error_code"] == "provider.timeout"
    assert (story["attempt"], story["outcome"]) == (4, "succeeded")
    assert Decimal(story["job_cost_usd"]) == Decimal("0.5")
    told = CliRunner().invoke(app, ["jobs", "show", str(first.job_id)]).output
    for word in (
        "ticket written",
        "provider.timeout",
        "handed back",
        "death",
        "succeeded",
        "cost 0.5 US dollars",
    ):
        assert word in told


def test_a_job_that_is_at_work_says_who_holds_it(jobs_database: Database, connection: Connection) -> None:
    process = str(uuid4())
    call(connection, "SELECT worker.renew_lease(%s, 'box:1', 8, 30)", process)
    at_work = claim(jobs_database, connection)
    connection.cursor().execute("UPDATE dramatiq.queue SET owner = %s", (process,))
    assert run("jobs", "show", str(at_work.job_id))["held_by"] == "box:1"
    assert run("status")["kinds"]["lens_run"]["stuck"] == 0


@pytest.mark.parametrize(
    ("job", "said"), [("nonsense", "is not an id"), ("5f1b3c6e-5a0e-4f0e-9d8e-0c6d1f2f7a11", "has claimed")]
)
def test_a_job_that_is_not_there_is_said(job: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        run("jobs", "show", job)
