"""Every node that reads a path finds the same under it: here what a lens node stored of a model's answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.nodes.ai.asking import Asking, material_of
from app.nodes.filling import filled_text
from app.nodes.messages.chat import ChatSettings
from app.nodes.models import Models
from app.nodes.storage.contents import part_of
from app.nodes.task import Task
from app.platform.workflows import WorkflowRun
from app.workflow import Node, NodeFailure, Output, Work, stored_output
from app.workflow.config import NodeConfig
from tests.unit.nodes.trying import try_node

ANSWER = '{"verdict": "approved", "score": 7, "rows": [{"n": 1}, {"n": 2}]}'
WORDS = Output(text="approved", metadata={"modelId": "m"})
JSON = Output(text=ANSWER, metadata={"modelId": "m"})
FENCED = Output(text=f"Here you are:\n```json\n{ANSWER}\n```")
LIST = Output(text='[{"n": 1}, {"n": 2}]')

#: A path into an answer, and what lies there.
PATHS = [
    (WORDS, "output", "approved"),
    (WORDS, "text", "approved"),
    (WORDS, "data", "approved"),
    (JSON, "output", ANSWER),
    (JSON, "text", ANSWER),
    (JSON, "verdict", "approved"),
    (JSON, "data.verdict", "approved"),
    (JSON, "output.verdict", "approved"),
    (JSON, "$.data.score", 7),
    (JSON, "rows[1].n", 2),
    (FENCED, "data.verdict", "approved"),
    (FENCED, "output.score", 7),
]
BRANCHES = pytest.mark.parametrize(("answer", "path", "value"), PATHS)


@BRANCHES
def test_an_if_takes_the_right_branch(answer: Output, path: str, value: Any) -> None:
    # Forms store text that looks like JSON as JSON, so the whole answer can't be compared as text.
    operator, value = ("contains", "approved") if value == ANSWER else ("equals", value)
    for settings in ({"inputPath": path}, {"expression": path.removeprefix("$.")}):
        for wanted, branch in ((value, "true"), ("something else", "false")):
            decided = try_node("if_condition", answer, **settings, operator=operator, value=wanted)
            assert decided.data["branch"] == branch


@BRANCHES
def test_a_switch_takes_the_right_case(answer: Output, path: str, value: Any) -> None:
    operator, value = ("contains", "approved") if value == ANSWER else ("equals", value)
    case = {"label": "hit", "operator": operator, "value": value}
    for settings in ({"inputPath": path, "cases": [case]}, {"cases": [{**case, "inputPath": path}]}):
        assert try_node("switch", answer, **settings).data == {"matchedBranch": "hit", "matchedIndex": 0}


@BRANCHES
def test_data_nodes_take_what_lies_there(answer: Output, path: str, value: Any) -> None:
    assert try_node("extract_field", answer, field=path).data == {"value": value}
    assert try_node("extract_field", answer, fields=[{"path": path, "as": "x"}]).data == {"x": value}
    assert try_node("json_transform", answer, expression=path).data["value"] == value
    assert try_node("data_mapper", answer, mappings={"x": path}).data == {"value": {"x": value}}
    renamed = try_node("rename_field", answer, mappings={path: "x"}, dropUnmapped=True)
    assert renamed.data == {"value": {"x": value}}
    assert try_node("stop_return", answer, returnPath=path).data["returnValue"] == value


@BRANCHES
def test_templates_and_mappings_name_it_with_and_without_the_node(
    answer: Output, path: str, value: Any
) -> None:
    for name in (path, f"p0.{path.removeprefix('$.')}"):
        assert try_node("set_variables", answer, variables={"x": f"{{{{{name}}}}}"}).data == {"x": value}
        assert try_node("prompt_template", answer, template=f"<{{{{{name}}}}}>").text == f"<{value}>"
    assert try_node("prompt_template", answer, template="{{x}}", variables={"x": path}).text == str(value)
    reference = f"[[p0.{path.removeprefix('$.')}]]"
    assert try_node("prompt_template", answer, template=reference).text == str(value)


@BRANCHES
def test_another_node_is_named_by_its_id(answer: Output, path: str, value: Any) -> None:
    path = f"other.{path.removeprefix('$.')}"
    operator, wanted = ("contains", "approved") if value == ANSWER else ("equals", value)
    decided = try_node(
        "if_condition", 1, named={"other": answer}, inputPath=path, operator=operator, value=wanted
    )
    assert decided.data["branch"] == "true"
    assert try_node("json_transform", 1, named={"other": answer}, expression=path).data["value"] == value


def task_of(answer: Output, config: Any, **settings: Any) -> Task[Any]:
    row = stored_output(answer)
    node = Node("n1", "tried", NodeConfig(settings=settings))
    work = Work(node, {}, frozenset(), settings, [("p0", row)], {"p0": row})
    return Task(config, work, cast(WorkflowRun, None), cast(Any, None), cast(Models, None))


@BRANCHES
def test_messages_materials_and_files_have_it_too(answer: Output, path: str, value: Any) -> None:
    asking = Asking.model_validate({"inputPath": path})
    assert material_of(task_of(answer, asking)).text == str(value)
    assert part_of(task_of(answer, None), path) == value
    template = f"it is {{{{{path}}}}}"
    message = task_of(answer, ChatSettings(message_template=template), messageTemplate=template)
    assert filled_text(message, "message_template") == f"it is {value}"


def test_a_part_that_is_not_there_is_no_null_that_is_stored() -> None:
    with pytest.raises(NodeFailure, match=r"not_found: there is nothing at 'data\.x'"):
        part_of(task_of(JSON, None), " data.x ")


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        *((LIST, path) for path in ("output", "text", "data", "")),
        *((JSON, path) for path in ("rows", "data.rows")),
        (FENCED, "output.rows"),
        (Output(text='```\n[{"n": 1}, {"n": 2}]\n```'), "output"),
    ],
)
def test_a_list_is_found_by_every_node_that_works_on_one(answer: Output, path: str) -> None:
    kept = try_node("filter_items", answer, arrayPath=path, field="n", operator="gt", value=1)
    assert kept.data["items"] == [{"n": 2}]
    assert try_node("filter_items", answer, arrayPath=path, condition="n < 2").data["items"] == [{"n": 1}]
    assert try_node("filter_items", answer, arrayPath=path, field="item.n", value=2).data["items"] == [
        {"n": 2}
    ]
    assert try_node("extract_field", answer, arrayPath=path, field="data.n").data["items"] == [1, 2]
    assert try_node("aggregate", answer, arrayPath=path, operation="sum", field="n").data["value"] == 3
    assert try_node("sort", answer, arrayPath=path, field="n", direction="desc").data["items"][0] == {"n": 2}


@pytest.mark.parametrize("path", ["value", "item", "data", ""])
def test_a_filter_names_an_item_that_is_no_object(path: str) -> None:
    conditions = [{"field": path, "operator": "gt", "value": 1}]
    assert try_node("filter_items", [1, 2, 3], conditions=conditions).data["items"] == [2, 3]


def test_fields_are_those_of_the_answer_then_of_its_items_then_what_is_stored_beside_it() -> None:
    rows = {"items": [{"text": "a", "n": 1}, {"text": "b", "n": 2}], "count": 2}
    assert try_node("extract_field", rows, field="count").data == {"value": 2}
    assert try_node("extract_field", rows, field="text").data["items"] == ["a", "b"]
    assert try_node("data_mapper", rows, mappings={"x": "text"}).data["items"] == [{"x": "a"}, {"x": "b"}]
    assert try_node("rename_field", rows, mappings={"text": "x"}).data["items"][0] == {"n": 1, "x": "a"}
    assert try_node("extract_field", LIST, field="output").data == {"value": '[{"n": 1}, {"n": 2}]'}
    assert try_node("data_mapper", LIST, mappings={"raw": "text"}).data["value"]["raw"] == LIST.text


@pytest.mark.parametrize(
    ("answer", "mappings", "expected"),
    [
        (Output(text='{"a": 1, "b": 2}'), {"data.a": "x"}, {"b": 2, "x": 1}),
        (Output(text='{"a": 1}'), {"output": "raw"}, {"a": 1, "raw": '{"a": 1}'}),
        (Output(text='{"data": {"a": 1}, "a": 2}'), {"data.a": "x"}, {"data": {"a": 1}, "a": 2, "x": 1}),
        (WORDS, {"output": "summary"}, {"summary": "approved"}),
    ],
)
def test_a_renamed_key_goes_and_the_others_stay(
    answer: Output, mappings: dict[str, str], expected: dict[str, Any]
) -> None:
    assert try_node("rename_field", answer, mappings=mappings).data["value"] == expected


def test_a_text_without_what_is_renamed_is_no_object() -> None:
    with pytest.raises(NodeFailure, match="no_object"):
        try_node("rename_field", WORDS, mappings={"nothing": "summary"})


def test_a_label_wins_over_the_upstream_and_its_json_is_gone_into() -> None:
    inputs = {"output": "the label's", "context": '{"n": [4, 5]}'}
    assert try_node("prompt_template", WORDS, inputs=inputs, template="{{output}}").text == "the label's"
    assert try_node("prompt_template", WORDS, inputs=inputs, template="{{context.n[1]}}").text == "5"
