"""What nodes that wait ask for, and what they make of answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import sentinel
from uuid import uuid4

import pytest
from pydantic import ValidationError

from app.nodes import node_types, problems_of
from app.nodes.task import Task
from app.nodes.waiting.approvals import Decision
from app.nodes.waiting.delays import LONGEST_DELAY_MS
from app.nodes.waiting.forms import HumanInput
from app.workflow import Node, NodeFailure, Output, Park, WaitingReason, Work
from app.workflow.config import NodeConfig


def run(node_type: str, *, memo: Any = None, answer: Any = None, **settings: Any) -> Output:
    """Run a node of a type after a parent that said 'draft'."""
    node = Node(str(uuid4()), node_type, NodeConfig())
    given = {"output": "draft"}
    work = Work(node, {}, frozenset(), settings, [("parent", given)], {"parent": given})
    kind = node_types()[node_type]
    run = SimpleNamespace(run_id=uuid4())
    config = kind.config.model_validate(settings)
    return kind.run(Task(config, work, run, sentinel.database, sentinel.models, memo, answer))  # type: ignore[arg-type]


def parked(node_type: str, **settings: Any) -> Park:
    with pytest.raises(Park) as raised:
        run(node_type, **settings)
    return raised.value


def said(data: Any) -> dict[str, Any]:
    return {"data": data, "by": "somebody", "at": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("name", ["wait_delay", "delay", "wait"])
def test_a_delay_is_counted_by_the_database(name: str) -> None:
    park = parked(name, delayMs="1500")
    assert (park.reason, park.until, park.memo) == (
        WaitingReason.TIMER,
        timedelta(seconds=1.5),
        {"delayMs": 1500},
    )
    output = run(name, delayMs=1500, memo=park.memo)
    assert (output.text, output.data["delayMs"]) == ("draft", 1500)


def test_a_time_wins_over_a_delay_and_is_in_utc() -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    park = parked("wait", delayMs=5, delayUntil=soon.replace(tzinfo=None).isoformat())
    assert park.until == soon


@pytest.mark.parametrize("settings", [{}, {"delayMs": 0}, {"delayUntil": "2020-01-01T00:00:00Z"}], ids=str)
def test_nobody_waits_for_what_has_passed(settings: dict[str, Any]) -> None:
    assert run("wait_delay", **settings).data["delayMs"] == 0


def test_a_delay_is_a_day_at_most() -> None:
    with pytest.raises(ValidationError):
        run("wait", delayMs=LONGEST_DELAY_MS + 1)
    with pytest.raises(NodeFailure, match="delay_too_long"):
        run("wait", delayUntil=(datetime.now(UTC) + timedelta(days=2)).isoformat())


@pytest.mark.parametrize(
    ("answer", "approved"),
    [
        (True, True),
        (False, False),
        ("Approve", True),
        (" no ", False),
        ({"approved": True, "comment": "ok"}, True),
    ],
    ids=str,
)
def test_a_decision_may_be_said_in_several_ways(answer: Any, approved: bool) -> None:
    assert Decision.read(answer).approved is approved


@pytest.mark.parametrize("answer", ["maybe", 1, None, [], {"approved": "yes"}, {"comment": "ok"}], ids=str)
def test_what_is_no_decision_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="say whether"):
        Decision.read(answer)


def test_who_approves_sees_what_came_in_and_the_run_goes_on_with_it() -> None:
    park = parked("approval", prompt="Send it?")
    assert park.ask == {"prompt": "Send it?", "context": "draft", "kind": "approval"}
    assert (park.reason, park.until) == (WaitingReason.HUMAN_INPUT, None)
    output = run("approval", memo=park.memo, answer=said({"approved": True}))
    assert (output.text, output.data["branch"], output.data["answeredBy"]) == (
        "draft",
        "approved",
        "somebody",
    )


def test_a_question_that_is_asked_again_stands_no_longer_than_before() -> None:
    memo = {"expiresAt": (datetime.now(UTC) + timedelta(seconds=30)).isoformat()}
    with pytest.raises(Park) as again:
        run("approval", expiresInMs=60_000, memo=memo, answer=said("maybe"))
    assert isinstance(again.value.until, timedelta)
    assert timedelta(seconds=20) < again.value.until <= timedelta(seconds=30)
    assert again.value.ask is not None
    assert "say whether" in str(again.value.ask["problem"])


@pytest.mark.parametrize(
    ("settings", "answer", "value"),
    [
        ({}, {"any": "thing"}, {"any": "thing"}),
        ({"choices": ["red", "blue"]}, "red", "red"),
        ({"options": '["red", "blue"]'}, {"choice": "blue"}, "blue"),
        ({"fields": [{"key": "n", "type": "number"}]}, {"n": 3, "x": 1}, {"n": 3}),
        ({"schema": {"properties": {"n": {"type": "text"}}, "required": ["n"]}}, {"n": "x"}, {"n": "x"}),
    ],
    ids=str,
)
def test_an_answer_is_taken_as_it_was_asked_for(settings: dict[str, Any], answer: Any, value: Any) -> None:
    typed = {key: ["red", "blue"] if key == "options" else given for key, given in settings.items()}
    assert run("human_input", memo={}, answer=said(answer), **typed).data["answer"] == value


@pytest.mark.parametrize(
    ("settings", "answer", "problem"),
    [
        ({"choices": ["red", "blue"]}, "green", "choose one of: red, blue"),
        ({"fields": [{"name": "n", "type": "number", "required": True}]}, {}, "n: a value is needed"),
        ({"fields": [{"name": "n", "type": "number"}]}, {"n": "x"}, "n: expected number"),
        ({"fields": [{"name": "n", "type": "select", "options": ["a"]}]}, {"n": "b"}, "n: not one of"),
        ({"fields": [{"name": "n"}]}, "x", "an object with the fields"),
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_is_refused_in_words(
    settings: dict[str, Any], answer: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        HumanInput.model_validate(settings).read(answer)


def test_going_on_without_an_answer_needs_one_to_go_on_with() -> None:
    def problems(**settings: Any) -> list[str]:
        node = Node("n", "human_input", NodeConfig(settings={"onTimeout": "continue", **settings}))
        return [problem.message for problem in problems_of(node)]

    assert problems(choices=["red"], default="red") == []
    assert problems() == []
    assert "choose one of: red" in problems(choices=["red"])[0]
    assert "n: a value is needed" in problems(fields=[{"name": "n", "required": True}])[0]


def test_a_timer_without_a_time_and_a_time_without_a_zone_are_mistakes() -> None:
    with pytest.raises(ValueError, match="names one"):
        Park(WaitingReason.TIMER)
    with pytest.raises(ValueError, match="time zone"):
        Park(WaitingReason.TIMER, datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake
