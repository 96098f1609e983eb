"""What authors are told of the types of nodes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.nodes import node_types, refusals
from app.nodes.catalogue import Entry, catalogue
from app.nodes.handbook import handbook
from app.workflow import Output, load_graph
from tests.unit.nodes.trying import try_node

HANDBOOK = Path(__file__).parents[3] / "docs" / "nodes.md"

#: Every type that the platform's builder, importer or older worker knows, but for those of plain lens nodes.
PLATFORM_TYPES = re.findall(
    r"\w+",
    """
    manual_trigger form_input_trigger event_trigger schedule_trigger webhook_trigger
    if_condition switch merge loop_map split_in_batches wait_delay error_catch try_catch stop_return
    sub_workflow code
    json_transform set_variables extract_field rename_field filter_items aggregate sort deduplicate
    text_splitter data_mapper
    summarizer classifier translator prompt_template output_parser judge_evaluator chain embedding
    rag_retrieval memory_read memory_write agent_execute vector_search image_analyze audio_transcribe
    video_analyze
    judge_battle vote_collector score_aggregator leaderboard_update series_advance battle_create
    battle_execute contender_run
    kv_store_read kv_store_write supabase_query file_reader file_writer webhook_sender sql_query
    object_storage_upload object_storage_download http_request graphql_request
    email_send slack_notify discord_notify telegram_notify push_notification sms_send
    github_read github_issue_create github_pr_review notion_read notion_write google_sheets_read
    google_sheets_write calendar_create linear_issue_create jira_issue_create asana_task_create
    asana_task_update asana_project_tasks_list monday_item_create monday_item_update
    monday_board_items_list zapier_webhook_trigger rss_feed
    text_to_image text_to_speech text_to_video image_to_image image_to_audio image_upscale speech_to_text
    media_convert logger debug_inspector secret_resolver rate_limit cache_read cache_write retry noop
    """,
)
LENS_TYPES = ["lens_execute", "text", "image", "video", "audio", "multimodal_chain", "delegate", "condition"]


def entry(name: str) -> Entry:
    return next(found for found in catalogue() if found.name == name)


def test_every_type_of_the_platform_is_done_or_refused() -> None:
    assert len(PLATFORM_TYPES) + len(LENS_TYPES) == 109
    assert [name for name in PLATFORM_TYPES if (name in node_types()) == (name in refusals())] == []


@pytest.mark.parametrize("name", LENS_TYPES)
def test_the_other_names_of_a_lens_node_ask_its_lens(name: str) -> None:
    rows = [{"id": "n1", "lens_id": "lens-1", "config": {"nodeType": name}}]
    assert load_graph(rows, [], known_types=node_types()).nodes["n1"].type == "lens"


def test_a_setting_is_told_with_its_spellings_kind_and_limits() -> None:
    found = {setting.name: setting for setting in entry("text_splitter").settings}
    assert found["splitBy"].others == ["strategy"]
    assert found["overlap"].others == ["chunkOverlap"]
    assert found["chunkSize"].kind == "whole number"
    assert "at least 1" in found["chunkSize"].limits
    assert found["chunkSize"].default == 1000
    renaming = entry("rename_field").settings
    assert {setting.name for setting in renaming if setting.required} == {"mappings"}
    assert "`asc` | `desc`" in {setting.kind for setting in entry("sort").settings}


@pytest.mark.parametrize("name", sorted(refusals()))
def test_a_refusal_goes_on_a_sentence_that_begins_with_which(name: str) -> None:
    assert refusals()[name].split()[0] in ("has", "is", "keeps", "no", "needs", "would", "does", "can't")


def test_the_handbook_is_what_the_types_say() -> None:
    assert HANDBOOK.read_text() == handbook(catalogue()), (
        "write it anew: .venv/bin/lf-worker nodes --markdown > docs/nodes.md"
    )


def test_the_command_lists_all_types() -> None:
    listed = CliRunner().invoke(app, ["nodes", "--json"])
    assert listed.exit_code == 0
    told = {found["name"]: found for found in map(json.loads, listed.output.splitlines())}
    assert told.keys() == node_types().keys() | refusals().keys()
    assert told["retry"]["refused"] == refusals()["retry"]
    assert CliRunner().invoke(app, ["nodes"]).exit_code == 0


def test_what_a_type_says_to_give_is_what_it_gives() -> None:
    given = {
        "filter_items": try_node("filter_items", [1, 2]),
        "sort": try_node("sort", [2, 1]),
        "deduplicate": try_node("deduplicate", [1, 1]),
        "split_in_batches": try_node("split_in_batches", [1, 2]),
        "text_splitter": try_node("text_splitter", "a"),
        "json_transform": try_node("json_transform", {"a": 1}, path="a"),
        "stop_return": try_node("stop_return", {"a": 1}),
        "loop_map": try_node("loop_map", [1]),
        "if_condition": try_node("if_condition", {"a": 1}),
        "debug_inspector": try_node("debug_inspector", Output(text="x")),
    }
    for name, output in given.items():
        assert set(node_types()[name].gives) <= output.data.keys(), name


def test_a_refused_type_names_what_to_use_instead() -> None:
    assert "retry.attempts" in refusals()["retry"]
    assert "kv_store_read" in refusals()["cache_read"]
