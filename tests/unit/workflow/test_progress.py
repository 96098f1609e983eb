"""How a run advances: gates, branches, halts, parked nodes, misuse, and what a step costs."""

from __future__ import annotations

import sys

import pytest

from app.workflow import (
    NodeResult,
    NodeStatus,
    Output,
    Progress,
    RunStatus,
    SkipReason,
    Standing,
    Stop,
    stored_output,
)
from app.workflow.ends import is_over_budget
from app.workflow.statuses import run_status
from tests.unit.workflow.graphs import edge, first, graph_of, node, run

COMPLETED, FAILED, SKIPPED = NodeStatus.COMPLETED, NodeStatus.FAILED, NodeStatus.SKIPPED


def done(**data):
    return NodeResult(COMPLETED, stored_output(Output(text="hi", data=data)))


def statuses(progress: Progress) -> dict[str, str]:
    return {name: result.status.value for name, result in progress.results.items()}


@pytest.mark.parametrize("ended", [s for s in NodeStatus if s.is_terminal and s is not COMPLETED])
@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", "skipped"), ("propagate", "failed"), ("substitute_default", None)]
)
def test_a_parent_that_is_not_completed_meets_the_childs_policy(ended, policy, expected):
    progress = Progress(graph_of([node("a"), node("b", onParentFailure=policy)], [edge("a", "b")]))
    progress.begin("a")
    advance = progress.complete("a", NodeResult(ended))
    if expected is None:
        assert advance.ready == ("b",)
    else:
        assert advance.settled["b"].status == expected
        assert advance.settled["b"].error == ("upstream_failure" if policy == "propagate" else None)


def test_skips_run_down_a_long_chain_without_recursion():
    length = sys.getrecursionlimit() * 2
    nodes = [node(f"n{i}") for i in range(length)]
    progress = Progress(graph_of(nodes, [edge(f"n{i}", f"n{i + 1}") for i in range(length - 1)]))
    progress.begin("n0")
    advance = progress.complete("n0", NodeResult(FAILED, error="boom"))
    assert len(advance.settled) == length - 1
    assert {r.skipped_because for r in advance.settled.values()} == {SkipReason.PARENT_NOT_SUCCESSFUL}
    assert progress.run_status is RunStatus.FAILED


def branching(**join):
    """An if node, one node on each branch, and one that joins them."""
    conditions = {"yes": {"type": "equals", "value": "true"}, "no": {"type": "equals", "value": "false"}}
    edges = [edge("if", name, source_output_key="branch", condition=c) for name, c in conditions.items()]
    nodes = [node("if"), node("yes"), node("no"), node("join", **join)]
    return graph_of(nodes, [*edges, edge("yes", "join", "l1"), edge("no", "join", "l2")])


@pytest.mark.parametrize(("branch", "taken", "other"), [("true", "yes", "no"), ("false", "no", "yes")])
def test_only_the_branch_taken_runs(branch, taken, other):
    progress = Progress(branching())
    progress.begin("if")
    advance = progress.complete("if", done(branch=branch))
    assert advance.ready == (taken,)
    assert advance.settled[other].skipped_because is SkipReason.BRANCH_NOT_TAKEN


@pytest.mark.parametrize(("policy", "joined"), [("skip", "skipped"), ("substitute_default", "completed")])
def test_a_join_behind_a_branch_runs_only_where_it_substitutes_defaults(policy, joined):
    progress, _ = run(branching(onParentFailure=policy), first, perform=lambda work: done(branch="true"))
    assert statuses(progress) == {"if": "completed", "yes": "completed", "no": "skipped", "join": joined}
    assert progress.run_status is RunStatus.COMPLETED, "skipped nodes don't fail a run"


def test_one_counting_edge_is_enough_where_several_lead_into_a_node():
    never = {"type": "equals", "value": "never"}
    nodes = [node("a"), node("b"), node("c")]
    both = graph_of(nodes, [edge("a", "c", "l1", condition=never), edge("b", "c", "l2", condition=never)])
    either = graph_of(nodes, [edge("a", "c", "l1", condition=never), edge("b", "c", "l2")])
    assert statuses(run(both, first, perform=lambda work: done())[0])["c"] == "skipped"
    assert statuses(run(either, first, perform=lambda work: done())[0])["c"] == "completed"


def test_a_node_waits_for_earlier_nodes_that_its_config_mentions():
    nodes = [node("a"), node("b"), node("c", param_overrides={"x": "[[a.output]]"})]
    progress = Progress(graph_of(nodes, [edge("b", "c")]))
    assert set(progress.opening.ready) == {"a", "b"}
    progress.begin("b")
    assert progress.complete("b", done()).ready == ()
    progress.begin("a")
    assert progress.complete("a", NodeResult(FAILED)).ready == ("c",), "it is no parent, so no gate either"


def test_nodes_of_the_same_or_a_later_level_are_not_waited_for():
    nodes = [node("a", x="[[b.output]] [[c.output]] [[a.output]]"), node("b", x="{{ a.output }}"), node("c")]
    graph = graph_of(nodes, [edge("b", "c")])
    assert graph.waits == {"a": (), "b": (), "c": ("b",)}


def test_a_halt_skips_what_has_not_started_and_lets_the_rest_finish():
    nodes = [node("stop"), node("slow"), node("idle"), node("after"), node("behind")]
    progress = Progress(graph_of(nodes, [edge("stop", "after"), edge("slow", "behind")]))
    progress.begin("stop")
    progress.begin("slow")
    halting = NodeResult(COMPLETED, stored_output(Output(halt=True)))
    advance = progress.complete("stop", halting)
    assert advance.ready == ()
    assert set(advance.settled) == {"idle", "after", "behind"}
    assert {r.skipped_because for r in advance.settled.values()} == {SkipReason.WORKFLOW_HALTED}
    assert progress.standing is Standing.RUNNING
    assert progress.complete("slow", done()).settled == {}
    assert progress.run_status is RunStatus.COMPLETED


def test_a_halt_before_a_crash_still_holds_after_it():
    graph = graph_of([node("stop"), node("other")], [])
    progress = Progress(graph, {"stop": NodeResult(COMPLETED, stored_output(Output(halt=True)))})
    assert progress.opening.settled["other"].skipped_because is SkipReason.WORKFLOW_HALTED
    assert progress.standing is Standing.FINISHED


def test_data_of_a_node_can_not_halt_a_workflow_or_set_variables():
    stored = stored_output(Output(data={"__workflow_halt": True, "__variables": {"x": 1}}))
    assert not NodeResult(COMPLETED, stored).halts
    assert NodeResult(COMPLETED, stored).variables == {}


def test_a_run_is_parked_when_all_that_is_left_waits_for_someone():
    progress = Progress(graph_of([node("ask"), node("work"), node("after")], [edge("ask", "after")]))
    progress.begin("ask")
    progress.begin("work")
    progress.park("ask")
    assert progress.standing is Standing.RUNNING
    progress.complete("work", done())
    assert progress.standing is Standing.PARKED
    assert progress.status_of("ask") is NodeStatus.AWAITING_DEPENDENCY
    with pytest.raises(ValueError, match="not ended"):
        _ = progress.run_status
    progress.wake("ask")
    progress.begin("ask")
    assert progress.complete("ask", done()).ready == ("after",)


def test_parked_nodes_end_with_a_stopped_run():
    progress = Progress(graph_of([node("ask")], []))
    progress.begin("ask")
    progress.park("ask")
    progress.stop(Stop.CANCELLED)
    assert progress.run_status is RunStatus.CANCELLED


def test_statuses_before_during_and_after_a_node():
    progress = Progress(graph_of([node("a"), node("b")], [edge("a", "b")]))
    assert progress.status_of("a") is NodeStatus.QUEUED
    assert progress.status_of("b") is NodeStatus.AWAITING_DEPENDENCY
    progress.begin("a")
    assert (progress.status_of("a"), progress.running) == (NodeStatus.RUNNING, {"a"})
    progress.complete("a", done())
    assert progress.status_of("a") is COMPLETED


def test_an_empty_graph_is_completed_at_once():
    progress = Progress(graph_of([], []))
    assert progress.standing is Standing.FINISHED
    assert progress.run_status is RunStatus.COMPLETED


def test_steps_out_of_turn_are_refused():
    progress = Progress(graph_of([node("a"), node("b")], [edge("a", "b")]))
    with pytest.raises(ValueError, match="node b is awaiting_dependency"):
        progress.begin("b")
    with pytest.raises(ValueError, match="node a is queued"):
        progress.complete("a", done())
    progress.begin("a")
    with pytest.raises(ValueError, match="retrying is not the end"):
        progress.complete("a", NodeResult(NodeStatus.RETRYING))
    progress.complete("a", done())
    with pytest.raises(ValueError, match="node a is completed"):
        progress.complete("a", done())


def test_a_stop_of_a_finished_run_changes_nothing():
    progress, _ = run(graph_of([node("a")], []), first, perform=lambda work: done())
    assert progress.stop(Stop.TIMED_OUT).settled == {}
    assert progress.run_status is RunStatus.COMPLETED


def test_stored_results_of_nodes_that_are_gone_are_ignored():
    progress = Progress(graph_of([node("a")], []), {"gone": done()})
    assert progress.opening.ready == ("a",)


@pytest.mark.parametrize(
    ("ends", "stop", "expected"),
    [
        ([], None, "completed"),
        (["completed", "skipped"], None, "completed"),
        (["completed", "failed"], None, "failed"),
        (["timed_out"], None, "failed"),
        (["blocked"], None, "failed"),
        (["invalidated"], None, "failed"),
        (["failed", "cancelled"], None, "cancelled"),
        (["timed_out"], Stop.TIMED_OUT, "timed_out"),
        (["failed", "cancelled"], Stop.CANCELLED, "cancelled"),
        (["cancelled"], Stop.OVER_BUDGET, "cancelled"),
    ],
)
def test_how_a_run_ends(ends, stop, expected):
    assert run_status([NodeStatus(end) for end in ends], stop) == expected


@pytest.mark.parametrize(
    ("budget", "spent", "pending", "over"),
    [(None, 10**9, 0, False), (10, 10, 0, False), (10, 10, 1, True), (0, 0, 0, False), (10, 11, 0, True)],
)
def test_a_budget_is_over_when_spent_and_pending_exceed_it(budget, spent, pending, over):
    assert is_over_budget(budget, spent, pending) is over


def test_a_step_touches_only_the_edges_of_its_node(monkeypatch):
    """Counted, not timed: gates are decided once a node, however large the graph is."""
    decided = []
    from app.workflow import progress as module

    real = module.decide
    monkeypatch.setattr(module, "decide", lambda *args: decided.append(args[1]) or real(*args))
    count = 3000
    nodes = [node("hub"), *(node(f"n{i}") for i in range(count))]
    edges = [edge(f"n{i}", f"n{i + 1}") for i in range(count - 1)] + [edge("hub", "n0")]
    progress = Progress(graph_of(nodes, edges))
    ready = list(progress.opening.ready)
    while ready:
        progress.begin(ready[0])
        ready = list(progress.complete(ready[0], done()).ready)
    assert len(decided) == count + 1
