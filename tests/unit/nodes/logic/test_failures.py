"""Failures that later nodes deal with, and workflows that end early."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.nodes import catching_types, field_kinds, node_types, problems_of
from app.nodes.running import run_node
from app.workflow import (
    InvalidWorkflow,
    NodeFailure,
    NodeResult,
    NodeStatus,
    Progress,
    RunStatus,
    load_graph,
    prepare,
    stored_output,
)
from tests.unit.nodes.trying import try_node

FAILED = NodeResult(NodeStatus.FAILED, error="provider.timeout: no answer in time")
DONE = NodeResult(NodeStatus.COMPLETED, {"output": "fine", "text": "fine", "score": 1})


class Chain:
    """A run of nodes in a row: `n0`, `n1` and so on, the last one being of the type to be tried."""

    def __init__(self, *configs: dict[str, Any]) -> None:
        nodes = [
            {"id": f"n{place}", "ordinal": place, "config": config} for place, config in enumerate(configs)
        ]
        edges = [
            {
                "id": f"e{n}",
                "source_node_id": f"n{n}",
                "target_node_id": f"n{n + 1}",
                "target_param_label": "x",
            }
            for n in range(len(configs) - 1)
        ]
        graph = load_graph(
            nodes,
            edges,
            known_types=node_types(),
            kinds=field_kinds(),
            catching_types=catching_types(),
            check=problems_of,
        )
        self.progress = Progress(graph)

    def end(self, name: str, result: NodeResult) -> None:
        self.progress.begin(name)
        self.progress.complete(name, result)

    def do(self, name: str) -> NodeResult:
        """Do a node that is ready."""
        work = prepare(self.progress.begin(name), {})
        try:
            output = run_node(work, *cast(Any, (None, None, None)))
            result = NodeResult(NodeStatus.COMPLETED, stored_output(output))
        except NodeFailure as failure:
            result = failure.result
        self.progress.complete(name, result)
        return result


NOOP = {"nodeType": "noop"}


def test_a_caught_failure_gives_the_fallback_and_does_not_fail_the_run() -> None:
    chain = Chain(NOOP, {"nodeType": "error_catch", "fallbackValue": {"score": 0}})
    chain.end("n0", FAILED)
    output = chain.do("n1").output
    assert output["recovered"] is True
    assert (output["sourceNodeId"], output["errorCode"]) == ("n0", "provider.timeout")
    assert output["error"] == FAILED.error
    assert output["fallbackValue"] == {"score": 0}
    assert chain.progress.run_status is RunStatus.COMPLETED


def test_a_failure_that_nobody_catches_fails_the_run() -> None:
    chain = Chain(NOOP, {**NOOP, "onParentFailure": "substitute_default"})
    chain.end("n0", FAILED)
    chain.do("n1")
    assert chain.progress.run_status is RunStatus.FAILED


@pytest.mark.parametrize("policy", ["skip", "propagate"])
def test_a_failure_is_caught_behind_nodes_that_ended_because_of_it(policy: str) -> None:
    chain = Chain(NOOP, {**NOOP, "onParentFailure": policy}, NOOP, {"nodeType": "try_catch"})
    chain.end("n0", FAILED)
    output = chain.do("n3").output
    assert output["caught"] is True
    assert output["branch"] == "error"
    assert output["error"] == {"message": FAILED.error, "code": "provider.timeout", "nodeId": "n0"}
    assert chain.progress.run_status is RunStatus.COMPLETED


@pytest.mark.parametrize("node_type", ["error_catch", "try_catch"])
def test_without_a_failure_what_came_in_is_passed_on(node_type: str) -> None:
    chain = Chain(NOOP, {"nodeType": node_type})
    chain.end("n0", DONE)
    output = chain.do("n1").output
    assert (output["output"], output["score"]) == ("fine", 1)
    assert output.get("recovered", False) is False
    assert output.get("caught", False) is False


def test_the_names_of_a_caught_failure_are_the_authors() -> None:
    chain = Chain(NOOP, {"nodeType": "try_catch", "errorOutputKey": "trouble", "catchBranch": "repair"})
    chain.end("n0", FAILED)
    output = chain.do("n1").output
    assert (output["trouble"]["nodeId"], output["branch"]) == ("n0", "repair")


def test_a_catch_that_may_not_go_on_fails_as_the_node_did() -> None:
    chain = Chain(NOOP, {"nodeType": "error_catch", "continueOnError": "false"})
    chain.end("n0", FAILED)
    assert chain.do("n1").error == FAILED.error
    assert chain.progress.run_status is RunStatus.FAILED


def test_a_catch_is_as_any_node_if_its_policy_says_that_it_fails_with_its_parents() -> None:
    chain = Chain(NOOP, {"nodeType": "error_catch", "onParentFailure": "propagate"})
    chain.end("n0", FAILED)
    assert chain.progress.results["n1"].error == "upstream_failure"


@pytest.mark.parametrize(
    ("settings", "returned", "text"),
    [
        ({}, {"a": {"b": 1}}, '{"a":{"b":1}}'),
        ({"returnPath": "a.b"}, 1, "1"),
        ({"returnPath": "a.b", "returnValue": 5}, 1, "1"),
        ({"returnValue": "done"}, "done", "done"),
        ({"status": "success", "returnValue": None, "message": "all done"}, None, "all done"),
    ],
    ids=str,
)
def test_stop_returns_a_value(settings: dict[str, Any], returned: Any, text: str) -> None:
    output = try_node("stop_return", {"a": {"b": 1}}, **settings)
    assert (output.data, output.text, output.halt) == ({"halted": True, "returnValue": returned}, text, True)


@pytest.mark.parametrize(
    ("config", "status"),
    [({}, RunStatus.COMPLETED), ({"status": "failed", "message": "no luck"}, RunStatus.FAILED)],
    ids=["completed", "failed"],
)
def test_a_stop_skips_what_has_not_started(config: dict[str, Any], status: RunStatus) -> None:
    chain = Chain({"nodeType": "stop_return", **config}, {**NOOP, "onParentFailure": "substitute_default"})
    stopped = chain.do("n0")
    assert stopped.error == ("stopped: no luck" if config else None)
    assert chain.progress.results["n1"].status is NodeStatus.SKIPPED
    assert chain.progress.run_status is status


def test_a_path_that_leads_nowhere_returns_nothing() -> None:
    with pytest.raises(NodeFailure, match="not_found"):
        try_node("stop_return", {"a": 1}, returnPath="b")


@pytest.mark.parametrize(
    ("node_type", "settings", "complaint"),
    [
        ("sub_workflow", {}, "workflowId"),
        ("sub_workflow", {"workflowId": "daily digest"}, "is not the id of a workflow"),
        ("loop_map", {"workflowId": "each"}, "is not the id of a workflow"),
        ("loop_map", {"concurrency": 0}, "concurrency"),
        ("loop_map", {"itemVariable": "__item"}, "itemVariable"),
        ("loop_map", {"onItemError": "shrug"}, "onItemError"),
        ("try_catch", {"errorOutputKey": ""}, "errorOutputKey"),
        ("error_catch", {"continueOnError": {"a": 1}}, "continueOnError"),
    ],
)
def test_bad_settings_are_named_before_the_run(
    node_type: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        try_node(node_type, {}, **settings)
