"""The platform's Node worker and this one, side by side on one queue while the work is moved over.

The Node worker claims by the platform's function over PostgREST, that is as `service_role`, and leaves no row
in worker.claims; whatever it holds is its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded, enqueue_lens_runs
from app.local.provider_server import ProviderServer
from tests.databases import connect_as_worker
from tests.integration.battle_rows import jobs_of, queue_battle, status_of
from tests.integration.conftest import import_afresh, running_worker
from tests.sql import call
from tests.waiting import eventually

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])

RUNS = 120


@pytest.fixture
def actors(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> LeaseBroker:
    import_afresh("actors.lens_runs", "actors.battles")
    return broker


class NodeWorker:
    """One loop of the Node worker: claim, answer, complete, artifact, one run at a time."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.done: list[str] = []
        self.stop = threading.Event()

    def work(self) -> None:
        with closing(connect_as_worker(self._dsn)) as session:
            call(session, "SET search_path = public; SET ROLE service_role; SELECT 1")
            while not self.stop.is_set():
                run = call(session, "SELECT public.fn_worker_claim_queued_run()")
                if run is None:
                    self.stop.wait(0.01)
                else:
                    self._answer(session, run)

    def _answer(self, session: Connection, run: dict[str, Any]) -> None:
        self.stop.wait(0.01)
        call(
            session,
            "SELECT public.fn_worker_complete_execution_run(p_run_id => %s, p_status => 'succeeded',"
            " p_billing_status => 'free', p_response_text => 'by node')",
            run["run_id"],
        )
        call(
            session,
            "SELECT public.fn_worker_persist_execution_artifacts("
            "%s, %s, %s, %s, 'text', 'by node', NULL, '{}')",
            *(run[name] for name in ("run_id", "requester_lenser_id", "workspace_id", "model_id")),
        )
        self.done.append(run["run_id"])


@contextmanager
def node_workers(dsn: str, count: int) -> Iterator[list[NodeWorker]]:
    workers = [NodeWorker(dsn) for _ in range(count)]
    threads = [threading.Thread(target=worker.work) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop.set()
        for thread in threads:
            thread.join(10)


@BOTH_PLATFORMS
def test_each_run_is_done_once_by_one_of_the_two(
    actors: LeaseBroker, provider: ProviderServer, connection: Connection, dsn: str
) -> None:
    enqueue_lens_runs(connection, RUNS, model="gpt-4o", inputs={"prompt": "hi"})
    provider.latency_seconds = 0.01
    with node_workers(dsn, 2) as nodes, running_worker(actors):
        eventually(
            lambda: call(connection, "SELECT bool_and(status = 'succeeded') FROM execution.runs"),
            what="the end of all runs",
        )
        eventually(
            lambda: call(connection, "SELECT count(*) = 0 FROM dramatiq.queue WHERE state <> 'done'"),
            what="the end of all tickets",
        )
    theirs = [run for node in nodes for run in node.done]
    ours = "SELECT count(*) FROM worker.claims WHERE outcome = 'succeeded'"
    assert len(theirs) == len(set(theirs)) > 0
    assert len(provider.calls) == call(connection, ours) == RUNS - len(theirs) > 0
    by_node = "SELECT count(*) FROM execution.runs WHERE response_text = 'by node'"
    assert call(connection, by_node) == len(theirs)
    assert call(connection, "SELECT count(*) FROM worker.claims WHERE job = ANY (%s::uuid[])", theirs) == 0
    assert call(connection, "SELECT count(*) = count(DISTINCT run_id) FROM execution.artifacts")
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == RUNS


@BOTH_PLATFORMS
def test_a_run_that_the_node_worker_is_at_stays_its_own_whatever_our_sweeps_do(
    actors: LeaseBroker, provider: ProviderServer, connection: Connection
) -> None:
    enqueue_lens_runs(connection, 2, model="gpt-4o", inputs={"prompt": "hi"})
    held = call(connection, "SELECT public.fn_worker_claim_queued_run()")["run_id"]
    connection.cursor().execute(
        "UPDATE execution.runs SET started_at = now() - interval '1 hour' WHERE id = %s", (held,)
    )
    before = call(connection, "SELECT to_jsonb(r) FROM execution.runs r WHERE id = %s", held)
    with running_worker(actors):
        eventually(
            lambda: call(connection, "SELECT count(*) = 1 FROM worker.claims WHERE state = 'finished'"),
            what="the other run's end",
        )
        call(connection, "SELECT worker.add_missing_tickets('lens_run')")
        eventually(
            lambda: call(connection, "SELECT count(*) = 0 FROM dramatiq.queue WHERE state <> 'done'"),
            what="the end of all tickets",
        )
    assert call(connection, "SELECT to_jsonb(r) FROM execution.runs r WHERE id = %s", held) == before
    assert len(provider.calls) == 1


@BOTH_PLATFORMS
def test_a_battle_whose_contenders_are_answered_by_one_each_opens_voting_once(
    actors: LeaseBroker, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(connection)
    theirs = call(connection, "SELECT job_id FROM battles.fn_claim_battle_execution_job('node-1')")
    with running_worker(actors):
        eventually(
            lambda: call(connection, "SELECT count(*) = 1 FROM worker.claims WHERE state = 'finished'"),
            what="our job's end",
        )
        call(connection, "SELECT worker.fn_reclaim_battle_jobs(10)")
        held = {job["id"]: (job["status"], job["worker_id"]) for job in jobs_of(connection, battle)}
        assert held[theirs] == ("claimed", "node-1")
        assert status_of(connection, battle) == "executing"
        call(
            connection,
            "SELECT public.fn_worker_complete_battle_job(%s, 'completed', p_output_text => 'by node')",
            theirs,
        )
        eventually(lambda: status_of(connection, battle) == "voting", what="the vote")
    assert len(provider.calls) == 1
    texts = "SELECT array_agg(content_text ORDER BY content_text) FROM battles.submissions"
    assert call(connection, texts)[0] == "by node"
    assert len(call(connection, texts)) == 2
