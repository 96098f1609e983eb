"""What if and switch nodes decide."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.nodes.checking import complaints_about
from app.nodes.logic.branching import Comparison, Switch, take_branch, take_case
from app.workflow.resolver import Source

DATA = {"score": 7, "tags": ["a"], "user": {"name": "Ada"}, "empty": ""}


@pytest.mark.parametrize(
    ("settings", "data", "expected"),
    [
        ({}, DATA, "true"),
        ({}, None, "false"),
        ({}, "", "false"),
        ({"operator": "equals", "value": "x"}, "x", "true"),
        ({"inputPath": "user.name", "operator": "equals", "value": "Ada"}, DATA, "true"),
        ({"input_path": "user.nobody"}, DATA, "false"),
        ({"expression": "score > 5"}, DATA, "true"),
        ({"condition": "score > 5 && tags.includes('b')"}, DATA, "false"),
        ({"expression": "score", "operator": "less_than", "value": 8}, DATA, "true"),
        ({"expression": "user.name", "inputPath": ""}, DATA, "true"),
        ({"inputPath": "user", "expression": "name == 'Ada'"}, DATA, "true"),
        ({"expression": "value == 'x'"}, "x", "true"),
        ({"expression": "empty"}, DATA, "false"),
    ],
)
def test_if(settings, data, expected):
    decided = take_branch(Comparison.model_validate(settings), Source(data), "node-1")
    assert decided == {"branch": expected, "matched": expected == "true", "nodeId": "node-1"}


@pytest.mark.parametrize(
    ("settings", "branch", "index"),
    [
        ({}, "default", -1),
        ({"defaultBranch": "other"}, "other", -1),
        ({"cases": [{"label": "low", "expression": "score < 5"}, {"label": "high"}]}, "high", 1),
        ({"cases": [{"expression": "score > 5"}, {"label": "late"}]}, "0", 0),
        (
            {"inputPath": "user.name", "cases": [{"label": "me", "operator": "equals", "value": "Ada"}]},
            "me",
            0,
        ),
    ],
)
def test_switch(settings, branch, index):
    assert take_case(Switch.model_validate(settings), Source(DATA)) == {
        "matchedBranch": branch,
        "matchedIndex": index,
    }


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"operator": "sk-secret"}, "operator"), ({"expression": "sk-secret =="}, "expression")],
)
def test_bad_settings_are_named_without_quoting_them(settings, key):
    for config, given in ((Comparison, settings), (Switch, {"cases": [settings]})):
        with pytest.raises(ValidationError) as raised:
            config.model_validate(given)
        (complaint,) = complaints_about(raised.value)
        assert key in complaint
        assert "sk-secret" not in complaint
