"""The speed of workflow runs: `python -m bench.workflows [--json] [--quick]`.

A durable embedded server, the reference platform, and the workers exactly as the Procfile starts them. The
overhead of the engine is what a run of lens nodes takes when models answer at once: everything but the
answers. Runs are timed by the database, from their start to their end.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from psycopg2.extensions import connection

from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from bench.command import main
from bench.fleet import wait_until
from bench.lens_run_sections.platform import (
    MODEL,
    Platform,
    WrongEndError,
    prepare_database,
    worker_command,
    workers,
)
from bench.report import Figures, at_least, at_most
from bench.server import BenchServer, bench_server

#: Nodes side by side in each layer of the graphs that the overhead is measured with.
LAYER_WIDTH = 10
SMALL, LARGE = 1_000, 5_000

#: Nodes that wait a second each, and how many of them at once.
SLOW_NODES, SLOW_WIDTH = 100, 50
RUN_SECONDS = 300.0
ENVIRONMENT = {"PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true"}
INPUTS = {"name": "Ada", "language": "English"}


def run(*, quick: bool) -> Figures:
    """Measure and report; quick graphs are a tenth of the size."""
    share = 10 if quick else 1
    with bench_server() as server:
        database = prepare_database(server)
        report: Figures = {"machine": {**server.describe(), "worker": worker_command()}}
        with workers(server, database, {**ENVIRONMENT, "ECHO_PROVIDER": "1"}) as platform:
            report["overhead"] = measure_overhead(platform, SMALL // share, LARGE // share)
        report["parallel"] = measure_parallel(server, database, SLOW_NODES // share, SLOW_WIDTH // share)
        return report


def measure_overhead(platform: Platform, small: int, large: int) -> Figures:
    """Milliseconds per node of two graphs of one shape and of a chain, after one run to warm up."""
    graph_of(platform, 10 * LAYER_WIDTH)
    small_ms = 1000 * graph_of(platform, small) / small
    large_ms = 1000 * graph_of(platform, large) / large
    chain_ms = 1000 * graph_of(platform, small, width=1) / small
    return {
        f"ms_per_node_of_{small}": at_most(small_ms, 6.0),
        f"ms_per_node_of_{large}": at_most(large_ms, 6.0),
        "growth": at_most(large_ms / small_ms, 1.3),
        f"ms_per_node_of_a_chain_of_{small}": at_most(chain_ms, 6.0),
    }


def measure_parallel(server: BenchServer, database: str, nodes: int, width: int) -> Figures:
    """How close independent nodes of a second each come to the time that their number and width allow."""
    environment = {**ENVIRONMENT, "WORKER_WORKFLOW_MAX_PARALLEL_NODES": str(width)}
    with workers(server, database, environment, latency_seconds=1.0) as platform:
        seeds = {f"n{number}": _lens() for number in range(nodes)}
        took_seconds = seconds_of(platform, seeds, [])
    ideal_seconds = nodes / width
    return {
        "nodes": nodes,
        "width": width,
        "seconds": round(took_seconds, 2),
        "share_of_ideal": at_least(ideal_seconds / took_seconds, 0.9),
    }


def graph_of(platform: Platform, count: int, *, width: int = LAYER_WIDTH) -> float:
    """The seconds that a run of so many nodes takes; each is fed by two of the layer before its own."""
    layers = count // width
    nodes = {_name(layer, place): _lens() for layer in range(layers) for place in range(width)}
    edges = [
        EdgeSeed(_name(layer - 1, (place + step) % width), _name(layer, place), f"from{step}", "kind")
        for layer in range(1, layers)
        for place in range(width)
        for step in range(min(width, 2))
    ]
    return seconds_of(platform, nodes, edges)


def seconds_of(platform: Platform, nodes: Mapping[str, NodeSeed], edges: list[EdgeSeed]) -> float:
    """Run a workflow once and return the seconds from its start to its end."""
    session = platform.session
    with session.cursor() as row:
        row.execute("BEGIN")
        workflow = make_workflow(session, nodes, edges)
        row.execute("COMMIT; ANALYZE lenses.workflow_nodes, lenses.workflow_edges")
    run_id = enqueue_workflow_run(session, workflow.workflow_id, inputs=INPUTS)
    wait_until(platform.stack, lambda: _end(session, run_id) is not None, RUN_SECONDS)
    status, seconds = _end(session, run_id) or ("", 0.0)
    if status != "completed":
        raise WrongEndError(f"the run ended as {status}")
    return seconds


def _end(session: connection, run_id: UUID) -> tuple[str, float] | None:
    with session.cursor() as row:
        row.execute(
            "SELECT status, extract(epoch FROM completed_at - started_at)::float FROM lenses.workflow_runs"
            " WHERE id = %s AND completed_at IS NOT NULL",
            (run_id,),
        )
        found: tuple[str, float] | None = row.fetchone()
        return found


def _lens() -> NodeSeed:
    return NodeSeed({"modelId": MODEL}, lens="greeting")


def _name(layer: int, place: int) -> str:
    return f"n{layer}-{place}"


if __name__ == "__main__":
    main(run, __doc__)
