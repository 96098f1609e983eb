"""Nodes that look, listen, embed and remember, with providers on a real wire."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.media_samples import MP3, MP4, PNG
from app.local.provider_server import ProviderServer
from app.local.provider_tools import vector_of
from app.local.teams import make_agent
from app.local.workflows import EdgeSeed, NodeSeed
from app.workflow import InvalidWorkflow
from tests.integration.media_world import providers_of_media  # noqa: F401  # a fixture
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.workflow_rows import rows

pytestmark = pytest.mark.usefixtures("provider")

GPT, GEMINI = "gpt-4o", "gemini-2.5-flash"


def uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def run(database: Database, connection: Connection, node_type: str, **config: Any) -> Ran:
    return execute_once(
        database, start(connection, {"it": NodeSeed({"nodeType": node_type, **config})}, inputs={"text": "a"})
    )


@pytest.mark.parametrize(
    ("node_type", "key", "model", "url"),
    [
        ("image_analyze", "imageUrl", GPT, uri("image/png", PNG)),
        ("image_analyze", "imageUrl", GEMINI, uri("image/png", PNG)),
        ("video_analyze", "videoUrl", GEMINI, uri("video/mp4", MP4)),
    ],
    ids=["an image by openai", "an image by google", "a video by google"],
)
def test_a_model_is_shown_a_medium_and_asked_about_it(
    database: Database,
    connection: Connection,
    provider: ProviderServer,
    node_type: str,
    key: str,
    model: str,
    url: str,
) -> None:
    provider.say(model, "A kite.")
    ran = run(database, connection, node_type, modelId=model, prompt="What is it?", **{key: url})
    assert (ran.output("it")["analysis"], ran.output("it")["output"]) == ("A kite.", "A kite.")
    assert provider.calls[0].prompt == "What is it?"
    assert url.partition(",")[2] in str(provider.calls[0].body)
    assert ran.node("it")["input_tokens"] > 0


def test_an_image_is_fetched_from_the_net(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    url = f"{provider.url}/files/task-1.png"
    assert run(database, connection, "image_analyze", modelId=GPT, url=url).output("it")["analysis"]
    assert base64.b64encode(PNG).decode() in str(provider.calls[0].body)


@pytest.mark.parametrize(
    ("node_type", "config", "error"),
    [
        ("image_analyze", {}, "missing_required: a parent that gives image"),
        ("image_analyze", {"imageUrl": uri("video/mp4", MP4)}, "media.wrong_type"),
        ("image_analyze", {"imageUrl": "http://169.254.169.254/x.png"}, "media.url_refused"),
        ("image_analyze", {"imageUrl": "data:image/png,raw"}, "media.url_refused"),
        ("video_analyze", {"videoUrl": uri("video/mp4", MP4)}, "can't show openai video"),
        ("audio_transcribe", {"audioUrl": uri("image/png", PNG)}, "media.wrong_type"),
    ],
    ids=["nothing", "no image", "a forbidden host", "no data", "no videos", "no recording"],
)
def test_what_can_not_be_shown_is_not_asked_about(
    database: Database,
    connection: Connection,
    provider: ProviderServer,
    node_type: str,
    config: dict[str, str],
    error: str,
) -> None:
    assert error in run(database, connection, node_type, modelId=GPT, **config).error("it")
    assert provider.calls == []


@pytest.mark.parametrize("node_type", ["audio_transcribe", "speech_to_text"])
def test_a_recording_is_written_down(
    database: Database, connection: Connection, provider: ProviderServer, node_type: str
) -> None:
    provider.say("whisper-1", "guten Tag")
    ran = run(database, connection, node_type, audioUrl=uri("audio/mpeg", MP3), language="de")
    assert (ran.output("it")["transcript"], ran.output("it")["output"]) == ("guten Tag",) * 2
    assert ran.node("it")["provider_route"] == {"providerId": "openai", "modelKey": "whisper-1"}
    assert provider.calls[0].body["language"] == "de"


def test_a_service_that_is_away_fails_the_node_and_is_tried_again_as_configured(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("whisper-1", ["503"])
    url = uri("audio/mpeg", MP3)
    retry = {"attempts": 2, "backoffMs": 1}
    assert run(database, connection, "audio_transcribe", audioUrl=url, retry=retry).output("it")
    provider.script("whisper-1", ["503"])
    assert "not available" in run(database, connection, "audio_transcribe", audioUrl=url).error("it")


def test_a_text_becomes_a_vector(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    output = run(database, connection, "embedding", text="red kite", dimensions="64").output("it")
    assert (output["embedding"], output["dimensions"]) == (vector_of("red kite"), 64)
    assert provider.calls[0].body["dimensions"] == 64
    other = run(database, connection, "embedding", text="red kite", modelId="google:text-embedding-004")
    assert other.output("it")["embedding"] == vector_of("red kite")


def remember(connection: Connection, agent: object, *contents: str) -> None:
    profile = rows(
        connection,
        "INSERT INTO agents.memory_profiles (ai_lenser_id, name) VALUES (%s, 'all') RETURNING id",
        agent,
    )[0]["id"]
    for content in contents:
        rows(
            connection,
            "INSERT INTO agents.memories (profile_id, ai_lenser_id, scope, source, content)"
            " VALUES (%s, %s, 'global', 'user', %s)",
            profile,
            agent,
            content,
        )


def test_memories_are_found_that_fit_a_question_best(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    agent = make_agent(connection, "Nia")
    remember(connection, agent, "the kite is red", "whales sing", "a kite needs wind", "bread was baked")
    ran = run(
        database,
        connection,
        "rag_retrieval",
        query="which kite is red",
        lenserId=str(agent),
        topK=2,
        minScore=0.1,
    )
    output = ran.output("it")
    assert [item["content"] for item in output["items"]] == ["the kite is red", "a kite needs wind"]
    assert output["items"][0]["score"] > output["items"][1]["score"] >= 0.1
    assert output["output"] == "the kite is red\n\na kite needs wind"


def test_an_agent_without_memories_is_not_asked_about(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    agent = make_agent(connection, "Nia")
    output = run(database, connection, "rag_retrieval", query="x", lenserId=str(agent)).output("it")
    assert (output["items"], output["count"]) == ([], 0)
    assert provider.calls == []


def test_nobody_reads_the_memories_of_somebody_elses_agent(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    agent = make_agent(connection, "Nia", owner="grace")
    remember(connection, agent, "a secret")
    ran = run(database, connection, "rag_retrieval", query="secret", lenserId=str(agent))
    assert "doesn't belong to the workflow's owner" in ran.error("it")
    assert provider.calls == []


@pytest.mark.parametrize(
    ("node_type", "config", "complaint"),
    [
        ("embedding", {"dimensions": 0}, "dimensions"),
        ("rag_retrieval", {"topK": "many"}, "topK"),
        ("rag_retrieval", {"lenserId": "nobody"}, "lenserId"),
        ("audio_transcribe", {"language": "German!"}, "language"),
        ("vector_search", {}, "needs a vector store"),
    ],
)
def test_bad_settings_are_named_before_the_run_starts(
    database: Database, connection: Connection, node_type: str, config: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        run(database, connection, node_type, **config)


def test_the_medium_of_a_parent_is_looked_at(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {
        "draw": NodeSeed({"nodeType": "text_to_image", "modelId": "dall-e-3"}),
        "look": NodeSeed({"nodeType": "image_analyze", "modelId": GPT}),
    }
    ran = start(connection, nodes, [EdgeSeed("draw", "look")], {"text": "a kite"})
    drawn = {"mediaType": "image", "url": uri("image/png", PNG), "output": "", "kind": "image"}
    rows(
        connection,
        "UPDATE lenses.workflow_node_results SET status = 'completed', output_data = %s::jsonb"
        " WHERE node_id = %s",
        json.dumps(drawn),
        ran.workflow.nodes["draw"],
    )
    assert execute_once(database, ran).output("look")["analysis"]
    assert provider.calls[0].prompt == "Describe this image."
