"""`lf-worker once`: a drain from the command line, to its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, ensure_model
from app.local.provider_server import ProviderServer
from tests.sql import call

pytestmark = pytest.mark.lifecycle

COMMAND = str(Path(sys.executable).with_name("lf-worker"))


@pytest.fixture
def environment(dsn: str, seeded: Seeded, provider: ProviderServer) -> dict[str, str]:
    return {
        **os.environ,
        **provider.environment(),
        "DATABASE_URL": dsn,
        "OPENAI_API_KEY": "sk-lifecycle-planted-0123456789",
    }


def drain(folder: Path, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stderr)
    return done


def test_all_that_is_queued_is_done_even_without_tickets(
    environment: dict[str, str], tmp_path: Path, connection: Connection
) -> None:
    enqueue_lens_runs(connection, 20, model="gpt-4o", inputs={"prompt": "hi"})
    connection.cursor().execute("DELETE FROM dramatiq.queue WHERE random() < 0.5")
    done = drain(tmp_path, environment, "once", "--json")
    assert done.returncode == 0
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["jobs"] == {"lens_run": {"succeeded": 20}}
    assert (summary["failed"], summary["left"], summary["rejected"]) == (0, [], {})
    assert call(connection, "SELECT count(*) FROM worker.processes") == 0
    assert call(connection, "SELECT count(*) FROM worker.ticks") == 0


def test_what_failed_is_told_and_what_is_due_later_is_left(
    environment: dict[str, str], tmp_path: Path, connection: Connection
) -> None:
    ensure_model(connection, "sc-refusal", "openai")
    ensure_model(connection, "sc-503", "openai")
    for model in ("gpt-4o", "sc-refusal", "sc-503"):
        enqueue_lens_run(connection, model=model, inputs={"prompt": "hi"})
    call(connection, "SELECT worker.pause_queue('webhooks') IS NULL")
    call(
        connection,
        "SELECT worker.enqueue('deliver_webhook', '{}', 'webhooks') FROM generate_series(1, 2)",
    )
    slow = {
        **environment,
        "WORKER_RETRY_MIN_BACKOFF_MS": "3600000",
        "WORKER_RETRY_MAX_BACKOFF_MS": "7200000",
        "PLATFORM_API_WORKER_ONCE": "true",
    }
    done = drain(tmp_path, slow, "run")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "lens_run: 1 failed, 1 succeeded, 1 tried again later"
    assert lines[1].startswith("left in lens_runs: 1 (next in ")
    assert lines[2].startswith("left in webhooks: ")
    assert lines[2].endswith("(the queue is paused)")
    assert lines[3].startswith("Nothing due is left, after ")
    assert lines[3].endswith("; 1 failed.")
