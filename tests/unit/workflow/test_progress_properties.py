"""Whatever the graph and however its events interleave."""

from __future__ import annotations

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from app.workflow import (
    Graph,
    NodeResult,
    NodeStatus,
    Progress,
    Resumption,
    RunStatus,
    Standing,
    Start,
    Stop,
    prepare,
    results_that_stand,
)
from app.workflow.gates import decide
from app.workflow.scopes import EMPTY, Scope, extended, joined
from tests.unit.workflow.graphs import ROOT, first, graphs, last, perform, run

FAILURES = {NodeStatus.FAILED, NodeStatus.TIMED_OUT, NodeStatus.BLOCKED, NodeStatus.INVALIDATED}
workflows = graphs()
#: A machine under load is slow at times, which says nothing about the engine.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run_in_order(graph: Graph) -> dict[str, NodeResult]:
    """The plainest way to run a graph: one node after the other, no state at all."""
    results: dict[str, NodeResult] = {}
    scopes: dict[str, Scope] = {}
    for node_id in sorted(graph.nodes, key=graph.order.__getitem__):
        awaited = graph.waits[node_id]
        scope = joined(scopes[other] for other in awaited)
        end = decide(graph, node_id, results)
        if end is None:
            upstream = {other: results[other] for other in awaited}
            end = perform(prepare(Start(graph.nodes[node_id], graph, upstream, scope), ROOT))
        results[node_id] = end
        scopes[node_id] = extended(scope, end.variables, graph.order[node_id]) or EMPTY
    return results


@unhurried
@given(workflows, st.data())
def test_every_run_ends_with_every_node_in_a_terminal_status(graph: Graph, data: st.DataObject):
    progress, journal = run(graph, lambda events: data.draw(st.sampled_from(events)))
    assert progress.standing is Standing.FINISHED
    assert progress.results.keys() == graph.nodes.keys()
    assert all(result.status.is_terminal for result in progress.results.values())
    assert sorted(journal.ended) == sorted(graph.nodes), "each node ends, and is reported, exactly once"
    assert len(set(journal.begun)) == len(journal.begun)


@unhurried
@given(workflows, st.data())
def test_no_node_starts_before_its_parents_have_ended(graph: Graph, data: st.DataObject):
    _, journal = run(graph, lambda events: data.draw(st.sampled_from(events)))
    for node_id in journal.begun:
        assert set(graph.parents[node_id]) <= journal.ended_before[node_id]


@unhurried
@given(workflows, st.data())
def test_results_do_not_depend_on_timing(graph: Graph, data: st.DataObject):
    progress, _ = run(graph, lambda events: data.draw(st.sampled_from(events)))
    expected = run_in_order(graph)
    event(f"{sum(r.is_completed for r in expected.values())} completed")
    assert progress.results == expected
    for pick in (first, last):
        assert run(graph, pick)[0].results == expected


@unhurried
@given(workflows, st.data())
def test_a_node_starts_as_soon_as_everything_it_waits_for_has_ended(graph: Graph, data: st.DataObject):
    progress = Progress(graph)
    ready = set(progress.opening.ready)
    while ready:
        free = {n for n in graph.nodes if all(o in progress.results for o in graph.waits[n])}
        assert ready == free - progress.results.keys()
        name = data.draw(st.sampled_from(sorted(ready)))
        advance = progress.complete(name, perform(prepare(progress.begin(name), ROOT)))
        ready = (ready - {name}) | set(advance.ready)


@unhurried
@given(workflows, st.data())
def test_waiting_changes_nothing_but_the_time(graph: Graph, data: st.DataObject):
    parking = data.draw(st.sets(st.sampled_from(sorted(graph.nodes)))) if graph.nodes else set()
    progress, journal = run(graph, lambda events: data.draw(st.sampled_from(events)), parking=parking)
    event(f"{len(parking & set(journal.begun))} waited")
    assert progress.results == run_in_order(graph)
    assert sorted(journal.ended) == sorted(graph.nodes)


@unhurried
@given(workflows, st.sampled_from(Stop), st.data())
def test_a_stop_ends_parked_nodes_too(graph: Graph, stop: Stop, data: st.DataObject):
    progress = Progress(graph)
    for name in progress.opening.ready:
        progress.begin(name)
        if data.draw(st.booleans()):
            progress.park(name)
    progress.stop(stop)
    assert progress.standing is Standing.FINISHED
    assert progress.parked == frozenset()


@unhurried
@given(workflows)
def test_a_run_fails_exactly_when_a_node_did(graph: Graph):
    progress, _ = run(graph, first)
    failed = any(result.status in FAILURES for result in progress.results.values())
    assert progress.run_status is (RunStatus.FAILED if failed else RunStatus.COMPLETED)


@settings(unhurried, max_examples=60)
@given(workflows, st.data())
def test_resuming_from_any_moment_gives_what_the_uninterrupted_run_gives(graph: Graph, data: st.DataObject):
    expected, journal = run(graph, lambda events: data.draw(st.sampled_from(events)))
    kept = journal.ended[: data.draw(st.integers(0, len(journal.ended)))]
    rows = [
        {"node_id": name, "status": str(result.status), "output_data": result.output_data}
        | {"error_message": result.error}
        for name, result in expected.results.items()
        if name in kept
    ]
    open_rows = [{"node_id": name, "status": "running"} for name in graph.nodes if name not in kept]
    stored = results_that_stand(rows + open_rows, Resumption.RECOVERY)
    resumed, second = run(graph, first, stored)
    assert {n: (r.status, r.output_data) for n, r in resumed.results.items()} == {
        n: (r.status, r.output_data) for n, r in expected.results.items()
    }
    assert resumed.run_status is expected.run_status
    assert not set(second.begun) & {name for name in kept if expected.results[name].is_completed}


@unhurried
@given(workflows)
def test_a_retry_does_everything_again_but_completed_nodes(graph: Graph):
    before, _ = run(graph, first)
    rows = [
        {"node_id": n, "status": r.status, "output_data": r.output_data} for n, r in before.results.items()
    ]
    stored = results_that_stand(rows, Resumption.RETRY)
    completed = {name for name, result in before.results.items() if result.is_completed}
    assert stored.keys() == completed
    after, journal = run(graph, first, stored)
    assert after.standing is Standing.FINISHED
    assert not set(journal.begun) & completed
    assert all(after.results[name] == before.results[name] for name in completed)


@unhurried
@given(workflows, st.sampled_from(Stop), st.integers(0, 20))
def test_a_stop_at_any_moment_ends_every_open_node_and_the_run(graph: Graph, stop: Stop, steps: int):
    progress = Progress(graph)
    ready = list(progress.opening.ready)
    while ready and (steps := steps - 1) > 0:
        ready += progress.complete(ready[0], perform(prepare(progress.begin(ready[0]), ROOT))).ready
        ready.pop(0)
    at_work = [name for name in ready if progress.begin(name)]
    before = dict(progress.results)
    settled = progress.stop(stop).settled
    assert progress.results == {**before, **settled}
    assert progress.standing is Standing.FINISHED
    wanted = NodeStatus.TIMED_OUT if stop is Stop.TIMED_OUT else NodeStatus.CANCELLED
    assert {result.status for result in settled.values()} <= {wanted}
    if settled:
        assert progress.run_status is RunStatus(wanted.value)
    for name in at_work:
        assert progress.complete(name, NodeResult(NodeStatus.COMPLETED, {})).settled == {}
        assert progress.results[name].status is wanted


@settings(unhurried, max_examples=20)
@given(graphs(largest=40), st.randoms(use_true_random=False))
def test_larger_graphs_behave_the_same(graph: Graph, random):
    progress, _ = run(graph, random.choice)
    assert progress.results == run_in_order(graph)
