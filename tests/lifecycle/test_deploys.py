"""What a deploy costs: processes that are replaced under load, and a schema that grows under them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_runs, seed
from app.local.provider_server import ProviderServer
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from app.migrations import WORKER, Layer, apply_layer, migrate
from tests.databases import Databases, connect_as_worker
from tests.lifecycle.processes import Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

NODES = 4
ENVIRONMENT = {"PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true"}
LEASES = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
SUCCEEDED = "SELECT count(*) FROM execution.runs WHERE status = 'succeeded'"
COMPLETED = "SELECT count(*) FROM lenses.workflow_runs WHERE status = 'completed'"
# More than one worker of four threads, of which two are kept for others, has at once.
RUNNING = "SELECT count(*) FROM worker.claims WHERE kind = 'workflow_run' AND state = 'running'"
# For each run that was handed back, how many that hadn't begun yet began before it went on.
OVERTAKEN = """
    SELECT (SELECT count(*) FROM worker.claims o
            WHERE o.kind = c.kind AND coalesce((o.history -> 0 ->> 'from')::timestamptz, o.claimed_at)
                  BETWEEN (c.history -> 0 ->> 'to')::timestamptz AND c.claimed_at)
    FROM worker.claims c WHERE c.history -> 0 ->> 'ended' = 'handed_back'
"""


def chain_of_nodes(session: Connection) -> UUID:
    nodes = {f"n{place}": NodeSeed({"modelId": "gpt-4o"}, lens="greeting") for place in range(NODES)}
    edges = [EdgeSeed(f"n{place - 1}", f"n{place}", "from") for place in range(1, NODES)]
    return make_workflow(session, nodes, edges).workflow_id


def test_restarting_one_worker_after_the_other_under_load_fails_nothing_and_what_is_handed_over_goes_first(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.latency_seconds = 0.2
    workflow_id = chain_of_nodes(connection)
    fleet = [workers.start(**ENVIRONMENT) for _ in range(2)]
    eventually(lambda: call(connection, LEASES) == 2, what="both workers")
    runs = workflow_runs = 0
    for place in (0, 1):
        for _ in range(8):
            enqueue_workflow_run(connection, workflow_id, inputs={"name": "Ada", "language": "English"})
        eventually(lambda: call(connection, RUNNING) >= 3, what="workflow runs on both workers")
        enqueue_lens_runs(connection, 20, model="gpt-4o", inputs={"prompt": "hi"})
        runs, workflow_runs = runs + 20, workflow_runs + 8
        fleet[place].terminate()
        assert fleet[place].wait() == 0
        fleet[place] = workers.start(**ENVIRONMENT)
        eventually(lambda: call(connection, LEASES) == 2, what="the new worker")
    eventually(lambda: call(connection, SUCCEEDED) == runs, what="all lens runs")
    eventually(lambda: call(connection, COMPLETED) == workflow_runs, what="all workflows")
    assert len(provider.calls) == runs + NODES * workflow_runs
    assert call(connection, "SELECT sum(deaths) + sum(errors) FROM worker.claims") == 0
    with connection.cursor() as row:
        row.execute(OVERTAKEN)
        overtaken = [count for (count,) in row.fetchall()]
    assert overtaken
    # What the other worker had two free threads for in the instant of handing back.
    assert max(overtaken) <= 2


def test_a_worker_goes_on_while_the_migration_of_a_newer_version_is_applied(
    workers: Fleet, databases: Databases, platform_profile: str, tmp_path: Path
) -> None:
    newer = tmp_path / "sql"
    shutil.copytree(WORKER.folder, newer)
    (newer / "9999_remarks.sql").write_text(
        "ALTER TABLE worker.claims ADD COLUMN remark text;"
        "ALTER TABLE dramatiq.queue ADD COLUMN remark text;"
        "CREATE INDEX claims_remark ON worker.claims (remark);"
    )
    with databases.platform(platform_profile) as dsn, closing(connect_as_worker(dsn)) as session:
        migrate(dsn)
        seed(dsn)
        workers.start(DATABASE_URL=dsn, ECHO_PROVIDER="1")
        eventually(lambda: call(session, LEASES) == 1, what="the worker")
        enqueue_lens_runs(session, 100, model="gpt-4o", inputs={"prompt": "hi"})
        (applied,) = apply_layer(session, Layer(WORKER.name, newer, WORKER.schema))
        assert applied.number == 9999
        enqueue_lens_runs(session, 100, model="gpt-4o", inputs={"prompt": "hi"})
        eventually(lambda: call(session, SUCCEEDED) == 200, what="200 successes")
        assert call(session, "SELECT sum(deaths) + sum(errors) FROM worker.claims") == 0
        workers.stop()
