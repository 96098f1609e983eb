"""What is said of a run when all its nodes have ended."""

from __future__ import annotations

from app.engine.summary import Ending
from app.workflow import NodeResult, NodeStatus, Progress
from app.workflow.outputs import CAUGHT_KEY
from tests.unit.workflow.graphs import graph_of, node


def ended(results: dict[str, NodeResult]) -> Progress:
    """A run of nodes without edges that have ended like this, one after the other."""
    progress = Progress(graph_of([node(name) for name in results], []))
    for name, result in results.items():
        progress.begin(name)
        progress.complete(name, result)
    return progress


def failed(error: str) -> NodeResult:
    return NodeResult(NodeStatus.FAILED, error=error)


def test_the_first_failure_in_the_graph_is_the_reason_and_the_others_are_counted():
    ending = Ending.of(
        ended({"a": NodeResult(NodeStatus.COMPLETED), "b": failed("no key"), "c": failed("late")})
    )
    assert ending.reason is not None
    assert "no key" in ending.reason
    assert ending.reason.endswith("so did 1 more")
    assert ending.counts == {"completed": 1, "failed": 2}


def test_a_failure_that_was_caught_is_no_reason():
    catcher = NodeResult(NodeStatus.COMPLETED, {CAUGHT_KEY: ["a"]})
    ending = Ending.of(ended({"a": failed("no key"), "b": catcher}))
    assert (ending.status, ending.reason) == ("completed", None)


def test_each_result_is_looked_at_a_few_times_however_many_there_are(monkeypatch):
    looks = []
    real = NodeResult.caught.fget
    monkeypatch.setattr(NodeResult, "caught", property(lambda result: looks.append(result) or real(result)))
    progress = ended({f"n{number}": NodeResult(NodeStatus.COMPLETED) for number in range(500)})
    assert Ending.of(progress).status == "completed"
    assert len(looks) <= 2 * 500
