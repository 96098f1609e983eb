"""What rolling deploys cost: `python -m bench.deploys [--json] [--quick]`.

Two of the Procfile's worker commands, the scheduler and the realtime process run on a durable embedded
server, under a steady load of lens runs and workflow runs. A deploy stops each of the four in turn with
SIGTERM, waits for its end, and starts the next one. Every call to the provider is counted by the provider.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from psycopg2.extensions import connection

from app.cli.demo.scenario import percentile
from app.local.platform import enqueue_lens_run
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from bench.command import parser, run_and_show
from bench.fleet import TooSlowError, inherited_environment
from bench.lens_run_sections.platform import MODEL, prepare_database, processes_of_procfile, worker_command
from bench.report import Figures, at_most, rounded
from bench.server import BenchServer, bench_server, open_session

DEPLOYS = 20

#: A lens run this often, and a workflow run of a chain of nodes this often.
LENS_RUN_SECONDS, WORKFLOW_RUN_SECONDS = 0.1, 0.5
CHAIN = 6
LATENCY_SECONDS = 0.3

READY_SECONDS = 60.0
SETTLE_SECONDS = 60.0

_LEASES = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
_UNFINISHED = """
    SELECT (SELECT count(*) FROM execution.runs WHERE status IN ('queued', 'running'))
         + (SELECT count(*) FROM lenses.workflow_runs
            WHERE status NOT IN ('completed', 'failed', 'timed_out'))
"""
_ENDS = """
    SELECT (SELECT count(*) FROM execution.runs WHERE status = 'succeeded'),
           (SELECT count(*) FROM lenses.workflow_runs WHERE status = 'completed'),
           (SELECT count(*) FROM execution.artifacts),
           (SELECT coalesce(sum(deaths), 0) FROM worker.claims)
"""
#: How long each job that was handed back waited for its next attempt, in seconds.
HAND_OVERS = """
    SELECT extract(epoch FROM next_began - ended_at)::float FROM (
        SELECT e.attempt ->> 'ended' AS how, (e.attempt ->> 'to')::timestamptz AS ended_at,
               coalesce(lead((e.attempt ->> 'from')::timestamptz) OVER one_job, c.claimed_at) AS next_began
        FROM worker.claims c, jsonb_array_elements(c.history) WITH ORDINALITY AS e (attempt, n)
        WINDOW one_job AS (PARTITION BY c.message_id ORDER BY e.n)
    ) AS attempts WHERE how = 'handed_back'
"""


class Load(threading.Thread):
    """Queues runs at a steady pace until stopped, and counts them."""

    def __init__(self, session: connection) -> None:
        super().__init__(name="load", daemon=True)
        self.session = session
        self.lens_runs = self.workflow_runs = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Queue one run after the other."""
        nodes = {f"n{place}": NodeSeed({"modelId": MODEL}, lens="greeting") for place in range(CHAIN)}
        edges = [EdgeSeed(f"n{place - 1}", f"n{place}", "from") for place in range(1, CHAIN)]
        workflow = make_workflow(self.session, nodes, edges)
        began = time.monotonic()
        while not self._stopping.wait(LENS_RUN_SECONDS):
            enqueue_lens_run(self.session, model=MODEL, inputs={"prompt": "Say hello."})
            self.lens_runs += 1
            if time.monotonic() - began > self.workflow_runs * WORKFLOW_RUN_SECONDS:
                inputs = {"name": "Ada", "language": "English"}
                enqueue_workflow_run(self.session, workflow.workflow_id, inputs=inputs)
                self.workflow_runs += 1

    def stop(self) -> None:
        """Queue no more, and return once the last one is there."""
        self._stopping.set()
        self.join()


def run(*, deploys: int) -> Figures:
    """Deploy so many times under load and return the report."""
    with bench_server() as server, ProviderServer(latency_seconds=LATENCY_SECONDS) as provider:
        dsn = server.postgres.dsn_for(prepare_database(server))
        with closing(open_session(dsn)) as session, _fleet(server, dsn, provider, session) as fleet:
            load = Load(open_session(dsn))
            load.start()
            began = time.monotonic()
            for _ in range(deploys):
                for name, stack in fleet.items():
                    stack.stop()
                    stack.start()
                    _await_leases(session, fleet, name)
            seconds = time.monotonic() - began
            load.stop()
            _await_end(session)
            report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
            return {
                **report,
                "deploys": {"deploys": deploys, "seconds": rounded(seconds, 0)}
                | _judge(session, load, provider),
            }


def _judge(session: connection, load: Load, provider: ProviderServer) -> Figures:
    with session.cursor() as row:
        row.execute(_ENDS)
        succeeded, completed, artifacts, deaths = row.fetchone() or (0, 0, 0, 0)
        row.execute(HAND_OVERS)
        hand_overs = [seconds for (seconds,) in row.fetchall()]
    expected_calls = load.lens_runs + CHAIN * load.workflow_runs
    return {
        "lens_runs": load.lens_runs,
        "workflow_runs": load.workflow_runs,
        "failed_or_lost": at_most(load.lens_runs + load.workflow_runs - succeeded - completed, 0, 0),
        "double_calls": at_most(abs(len(provider.calls) - expected_calls), 0, 0),
        "double_artifacts": at_most(artifacts - load.lens_runs, 0, 0),
        "deaths": at_most(float(deaths), 0, 0),
        "handed_over": len(hand_overs),
        "hand_over_p50_seconds": rounded(percentile(hand_overs, 50) if hand_overs else None),
        "hand_over_p99_seconds": at_most(percentile(hand_overs, 99) if hand_overs else None, 2),
    }


@contextmanager
def _fleet(
    server: BenchServer, dsn: str, provider: ProviderServer, session: connection
) -> Iterator[Mapping[str, Stack]]:
    """Two workers, the scheduler and the realtime process, each to be stopped by itself."""
    settings = {
        **inherited_environment(),
        **provider.environment(),
        "DATABASE_URL": dsn,
        "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true",
    }
    fleet: dict[str, Stack] = {}
    with ExitStack() as running:
        for name in ("worker-1", "worker-2", "scheduler", "realtime"):
            folder = server.folder / name
            folder.mkdir()
            kind = name.partition("-")[0]
            fleet[name] = running.enter_context(Stack(folder, settings, directory=folder, only={kind}))
        _await_leases(session, fleet)
        yield fleet


def _await_leases(session: connection, fleet: Mapping[str, Stack], restarted: str = "worker") -> None:
    workers = [name for name in fleet if name.startswith("worker")]
    if restarted.startswith("worker"):
        _await(session, _LEASES, len(workers) * processes_of_procfile(), fleet, READY_SECONDS)


def _await_end(session: connection) -> None:
    _await(session, f"SELECT ({_UNFINISHED}) = 0", True, {}, SETTLE_SECONDS)


def _await(
    session: connection, statement: str, wanted: object, fleet: Mapping[str, Stack], timeout_seconds: float
) -> None:
    deadline = time.monotonic() + timeout_seconds
    with session.cursor() as row:
        while True:
            for stack in fleet.values():
                stack.check()
            row.execute(statement)
            if row.fetchone() == (wanted,):
                return
            if time.monotonic() > deadline:
                raise TooSlowError(f"not within {timeout_seconds:g} s: {statement}")
            time.sleep(0.05)


def main() -> None:
    options = parser(__doc__, quick="two deploys instead of twenty").parse_args()
    run_and_show(lambda: run(deploys=2 if options.quick else DEPLOYS), as_json=options.json)


if __name__ == "__main__":
    main()
