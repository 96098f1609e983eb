"""Asynchronous runs that another producer started: taken over, completed once, or timed out."""

from __future__ import annotations

from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run
from tests.sql import call, sqlstate_of

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
ADOPT = "SELECT adopted::int FROM worker.fn_adopt_async_runs(30, 10, 900)"
COMPLETE = (
    "SELECT fn_async_run_idempotent_complete(%s, 'https://files.test/a.mp4', 'video/mp4', 9, 4, 3, 5.5)"
)

OWN_COMPLETE = (
    "SELECT execution.fn_async_run_idempotent_complete(%s, 'https://files.test/a.mp4', 'video/mp4')"
)


def async_run(connection: Connection, *, model: str | None = "sora-2.0", minutes_old: int = 1) -> UUID:
    run = enqueue_lens_run(
        connection, model=model, inputs={"prompt": "x"}, output_modality="video", requester="ada"
    )
    connection.cursor().execute(
        "UPDATE execution.runs SET status = 'running', is_async = true, provider_task_id = 'gen_1',"
        " started_at = now() - %s * interval '1 minute' WHERE id = %s",
        (minutes_old, run),
    )
    return run


@BOTH_PLATFORMS
def test_a_run_is_taken_over_once_with_a_message(connection: Connection, seeded: Seeded) -> None:
    run = async_run(connection)
    assert call(connection, ADOPT) == 1
    connection.cursor().execute("UPDATE execution.runs SET last_polled_at = NULL")
    assert call(connection, ADOPT) == 0
    task = "SELECT state || ' ' || provider || ' ' || task_id FROM worker.media_tasks WHERE job = %s"
    assert call(connection, task, run) == "started openai gen_1"
    waiting = "SELECT count(*) FROM dramatiq.queue WHERE message ->> 'actor_name' = 'poll_media_task'"
    assert call(connection, waiting) == 1


def test_a_run_whose_request_names_no_model_is_known_by_its_own(
    connection: Connection, seeded: Seeded
) -> None:
    run = async_run(connection)
    connection.cursor().execute("UPDATE execution.requests SET model_id = NULL")
    assert call(connection, ADOPT) == 1
    assert call(connection, "SELECT model FROM worker.media_tasks WHERE job = %s", run) == "sora-2.0"


def test_a_run_without_any_model_is_reported_and_left(connection: Connection, seeded: Seeded) -> None:
    async_run(connection, model=None)
    assert call(connection, "SELECT unknown::int FROM worker.fn_adopt_async_runs(30, 10, 900)") == 1
    assert call(connection, "SELECT count(*) FROM worker.media_tasks") == 0


@BOTH_PLATFORMS
def test_completing_twice_says_true_and_then_false(connection: Connection, seeded: Seeded) -> None:
    run = async_run(connection)
    assert call(connection, COMPLETE, run) is True
    assert call(connection, COMPLETE, run) is False
    assert call(connection, "SELECT status FROM execution.runs") == "succeeded"
    assert call(connection, "SELECT count(*) FROM execution.artifacts WHERE artifact_kind = 'video'") == 1
    columns = "SELECT (name, workspace_id IS NOT NULL, external_url, video_width) FROM media.objects"
    assert call(connection, columns) == f'("video of run {run}",t,https://files.test/a.mp4,4)'


@pytest.mark.parametrize("platform_profile", ["repaired"])
def test_the_platforms_own_completion_works_where_it_is_repaired(
    connection: Connection, seeded: Seeded
) -> None:
    run = async_run(connection)
    assert call(connection, OWN_COMPLETE, run) is True
    assert call(connection, OWN_COMPLETE, run) is False


@pytest.mark.parametrize("platform_profile", ["faulty"])
def test_the_platforms_own_completion_fails_as_it_does_today(connection: Connection, seeded: Seeded) -> None:
    run = async_run(connection)
    assert sqlstate_of(connection, OWN_COMPLETE, run) == "23502"


@BOTH_PLATFORMS
def test_only_old_asynchronous_runs_time_out(connection: Connection, seeded: Seeded) -> None:
    old, young = async_run(connection, minutes_old=16), async_run(connection, minutes_old=14)
    assert call(connection, "SELECT execution.fn_timeout_stale_runs()") == 1
    status = "SELECT status FROM execution.runs WHERE id = %s"
    assert (call(connection, status, old), call(connection, status, young)) == ("timed_out", "running")


def test_looking_at_a_run_keeps_others_from_it_for_a_while(connection: Connection, seeded: Seeded) -> None:
    async_run(connection)
    poll = "SELECT count(*) FROM execution.fn_poll_async_run(30, 10)"
    assert call(connection, poll) == 1
    assert call(connection, poll) == 0
    connection.cursor().execute("UPDATE execution.runs SET last_polled_at = now() - interval '31 seconds'")
    assert call(connection, poll) == 1
