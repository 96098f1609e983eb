"""Nodes that keep values, memories and files, and that ask the platform's database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.engine import execute
from app.local.platform import Seeded
from app.local.storage_server import StorageServer
from app.local.teams import make_agent
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run
from app.platform.workflows import WorkflowRun
from app.workflow import InvalidWorkflow
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.resumed_runs import execute_again, execute_and_lose
from tests.integration.workflow_rows import BOTH_PLATFORMS, hold_of, must_claim, rows
from tests.sql import call

pytestmark = pytest.mark.usefixtures("files")


@pytest.fixture
def files(configure: Callable[..., None]) -> Iterator[StorageServer]:
    with StorageServer() as server:
        configure(**server.environment(), WORKER_OUTBOUND_ALLOWED_HOSTS="127.0.0.1")
        yield server


def single(kind: str, **config: Any) -> dict[str, NodeSeed]:
    return {"only": NodeSeed({"nodeType": kind, **config})}


def fed(kind: str, **config: Any) -> tuple[dict[str, NodeSeed], list[EdgeSeed]]:
    """A trigger that hands the run's inputs to a node."""
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), **single(kind, **config)}
    return nodes, [EdgeSeed("start", "only")]


def refusal(database: Database, connection: Connection, nodes: dict[str, NodeSeed]) -> str:
    """What is wrong with a workflow, said before any of its nodes runs."""
    ran = start(connection, nodes)
    claimed = must_claim(database, hint=ran.run_id)
    with pytest.raises(InvalidWorkflow) as invalid:
        execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
    return str(invalid.value)


@BOTH_PLATFORMS
def test_a_value_is_kept_for_later_runs_of_its_workflow_and_no_other(
    database: Database, connection: Connection
) -> None:
    nodes, edges = fed("kv_store_write", key="digest:last", ttlSeconds="60", valuePath="digest.day")
    nodes["read"] = NodeSeed({"nodeType": "kv_store_read", "key": "digest:last"})
    nodes["other"] = NodeSeed({"nodeType": "kv_store_read", "key": "nothing", "defaultValue": [1]})
    edges += [EdgeSeed("only", "read"), EdgeSeed("only", "other")]
    ran = execute_once(database, start(connection, nodes, edges, {"digest": {"day": {"n": 7}}}))
    read = ran.output("read")
    assert (read["value"], read["found"], read["output"]) == ({"n": 7}, True, '{"n":7}')
    assert (ran.output("other")["value"], ran.output("other")["found"]) == ([1], False)
    kept = "SELECT expires_at - now() BETWEEN '50 s' AND '60 s' FROM workflow_kv_store"
    assert call(connection, kept) is True

    alone = execute_once(database, start(connection, single("kv_store_read", key="digest:last")))
    assert alone.output("only")["found"] is False
    again = Ran(enqueue_workflow_run(connection, ran.workflow.workflow_id), ran.workflow, connection)
    execute_once(database, again)
    assert call(connection, "SELECT count(*) FROM workflow_kv_store") == 1


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("digest:last", "digest..clast"),
        ("runs/2026", "runs..s2026"),
        ("a..b", "a..db"),
        ("digest.last-7_x", "digest.last-7_x"),
    ],
)
def test_a_key_that_the_platforms_table_refuses_is_stored_in_other_words(
    database: Database, connection: Connection, key: str, stored: str
) -> None:
    ran = execute_once(database, start(connection, *fed("kv_store_write", key=key, value="v")))
    assert ran.output("only")["key"] == key
    assert call(connection, "SELECT key FROM workflow_kv_store") == stored


def test_a_key_that_is_stored_in_too_many_characters_is_refused_before_the_run(
    database: Database, connection: Connection
) -> None:
    longest = ":" * 85 + "x"
    assert execute_once(database, start(connection, single("kv_store_read", key=longest))).output("only")
    assert "stored in 256 characters" in refusal(
        database, connection, single("kv_store_read", key=longest + "y")
    )


def test_an_expired_value_is_not_there(database: Database, connection: Connection) -> None:
    nodes, edges = fed("kv_store_write", key="k", value="v")
    ran = execute_once(database, start(connection, nodes, edges))
    rows(connection, "UPDATE workflow_kv_store SET expires_at = now() WHERE key = 'k'")
    reading = single("kv_store_read", key="k")
    rows(
        connection,
        "UPDATE lenses.workflow_nodes SET config = %s WHERE id = %s",
        json.dumps(dict(reading["only"].config)),
        ran.workflow.nodes["only"],
    )
    again = Ran(enqueue_workflow_run(connection, ran.workflow.workflow_id), ran.workflow, connection)
    assert execute_once(database, again).output("only")["found"] is False


def test_too_large_a_value_fails_its_node(database: Database, connection: Connection) -> None:
    nodes, edges = fed("kv_store_write", key="k", valuePath="big")
    ran = execute_once(database, start(connection, nodes, edges, {"big": ["x" * 1000] * 400}))
    assert ran.output("only")["value"] == ["x" * 1000] * 400
    huge = {"nodeType": "kv_store_write", "key": "k", "value": "[[%s.big]][[%s.big]][[%s.big]]"}
    nodes["only"] = NodeSeed(huge)
    grown = start(connection, nodes, edges, {"big": "x" * 400_000})
    node = str(grown.workflow.nodes["start"])
    rows(
        connection,
        "UPDATE lenses.workflow_nodes SET config = %s WHERE id = %s",
        json.dumps({**huge, "value": f"[[{node}.big]]" * 3}),
        grown.workflow.nodes["only"],
    )
    assert "value_too_large" in execute_once(database, grown).error("only")


@BOTH_PLATFORMS
def test_an_agent_remembers_under_a_key_and_finds_by_words(
    database: Database, connection: Connection
) -> None:
    agent = make_agent(connection, "Lena")
    call(
        connection,
        "INSERT INTO agents.memory_profiles (ai_lenser_id, name) VALUES (%s, 'usual') RETURNING 1",
        agent,
    )
    nodes = {
        "first": NodeSeed({"nodeType": "memory_write", "memoryKey": "taste", "value": "Ada likes tea"}),
        "second": NodeSeed({"nodeType": "memory_write", "key": "taste", "value": "Ada likes coffee"}),
        "other": NodeSeed({"nodeType": "memory_write", "key": "town", "value": "London is where Ada is"}),
        "read": NodeSeed({"nodeType": "memory_read", "key": "taste"}),
        "search": NodeSeed({"nodeType": "memory_read", "query": "what coffee does she like"}),
    }
    edges = [EdgeSeed(a, b) for a, b in zip(nodes, list(nodes)[1:], strict=False)]
    ran = execute_once(database, start(connection, nodes, edges, ai_lenser_id=agent))
    assert ran.output("read")["value"] == "Ada likes coffee"
    assert ran.output("read")["count"] == 1
    assert [m["key"] for m in ran.output("search")["memories"]] == ["taste"]
    assert "Ada likes coffee" in call(connection, "SELECT fn_build_lenser_prompt_context(%s, 20)", agent)


def test_memories_of_other_peoples_agents_are_out_of_reach(
    database: Database, connection: Connection, seeded: Seeded
) -> None:
    stranger = make_agent(connection, "Rosa", owner="grace")
    own = make_agent(connection, "Lena")
    reads = [
        start(connection, single("memory_read", lenserId=str(stranger))),
        start(connection, single("memory_read"), ai_lenser_id=stranger),
        start(connection, single("memory_read", lenserId=str(own)), triggered_by=seeded.people["grace"]),
        start(connection, single("memory_read")),
    ]
    for ran in reads:
        assert "memory.no_agent" in execute_once(database, ran).error("only")
    homeless = start(connection, single("memory_write", key="k", value="v"), ai_lenser_id=own)
    assert "memory.no_profile" in execute_once(database, homeless).error("only")


@BOTH_PLATFORMS
def test_a_file_is_written_shown_and_read_back(
    database: Database, connection: Connection, files: StorageServer
) -> None:
    nodes, edges = fed("file_writer", objectKeyTemplate="reports/{{name}}/{{date}}.json")
    nodes["read"] = NodeSeed({"nodeType": "object_storage_download", "objectKey": "[[ID.objectKey]]"})
    edges.append(EdgeSeed("only", "read"))
    ran = start(connection, nodes, edges, {"name": "../../Ada & Co"})
    read = {"nodeType": "object_storage_download", "objectKey": f"[[{ran.workflow.nodes['only']}.objectKey]]"}
    rows(
        connection,
        "UPDATE lenses.workflow_nodes SET config = %s WHERE id = %s",
        json.dumps(read),
        ran.workflow.nodes["read"],
    )
    execute_once(database, ran)
    written = ran.output("only")
    date = call(
        connection, "SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM lenses.workflow_runs"
    )
    assert written["objectKey"] == f"workflows/{ran.workflow.workflow_id}/reports/Ada-Co/{date}.json"
    assert written["mimeType"] == "application/json"
    stored = files.objects[f"artifacts/{written['objectKey']}"]
    assert json.loads(stored.content) == {"name": "../../Ada & Co"}
    assert httpx2.get(written["url"]).json() == {"name": "../../Ada & Co"}
    assert files.service_key not in json.dumps(written)
    assert ran.output("read")["content"] == {"name": "../../Ada & Co"}


def test_a_resumed_run_writes_the_same_object(
    database: Database, connection: Connection, files: StorageServer
) -> None:
    nodes, edges = fed("file_writer")
    ran = start(connection, nodes, edges, {"n": 1})
    lost = execute_and_lose(database, ran, "only")
    execute_again(database, ran, lost)
    assert files.uploads == 2
    assert list(files.objects) == [f"artifacts/{ran.output('only')['objectKey']}"]


def test_what_lies_at_a_url_is_copied_and_anything_but_text_is_given_by_its_url(
    database: Database, connection: Connection, files: StorageServer, configure: Callable[..., None]
) -> None:
    source = f"{files.url}/storage/v1/object/sign/artifacts/from.png?token="
    pixels = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    token = files.seed("artifacts/from.png", "image/png", pixels)
    upload = {"nodeType": "object_storage_upload", "objectKey": "copy.png", "sourceUrl": source + token}
    nodes = {
        "copy": NodeSeed(upload),
        "show": NodeSeed({"nodeType": "object_storage_download", "key": "copy.png"}),
    }
    ran = execute_once(database, start(connection, nodes, [EdgeSeed("copy", "show")]))
    assert ran.output("copy")["sizeBytes"] == len(pixels)
    shown = ran.output("show")
    assert (shown["mediaType"], shown["mimeType"]) == ("image", "image/png")
    assert httpx2.get(shown["url"]).content == pixels
    configure(WORKER_WORKFLOW_FILE_MAX_BYTES="1000")
    again = Ran(enqueue_workflow_run(connection, ran.workflow.workflow_id), ran.workflow, connection)
    assert "file_too_large" in execute_once(database, again).error("copy")


def test_another_workflows_files_can_not_be_named(
    database: Database, connection: Connection, files: StorageServer
) -> None:
    other = f"workflows/{uuid4()}/secret.txt"
    files.seed(f"artifacts/{other}", "text/plain", b"secret")
    ran = execute_once(database, start(connection, single("object_storage_download", objectKey=other)))
    assert "storage.not_found" in ran.error("only")
    for odd in ("../x", "a/../b", "/etc", "a//b", ".hidden", "a/./b", "a\\b", "x" * 600):
        assert "objectKey" in refusal(database, connection, single("file_writer", objectKey=odd))
    sneaky = fed("object_storage_download", objectKey="{{key}}/x")
    ran = execute_once(database, start(connection, *sneaky, {"key": ".."}))
    assert "invalid_config: objectKey" in ran.error("only")


def test_what_can_not_work_is_named_before_the_run(
    database: Database, connection: Connection, configure: Callable[..., None]
) -> None:
    assert "key" in refusal(database, connection, single("kv_store_read", key="no spaces"))
    assert "ttlMs" in refusal(database, connection, single("kv_store_write", key="k", ttlMs="soon"))
    assert "bucket is none of" in refusal(
        database, connection, single("file_writer", bucket="vault", objectKey="a")
    )
    assert "key: Field required" in refusal(database, connection, single("memory_write"))
    assert "source" in refusal(database, connection, single("memory_write", key="k", source="workflow"))
    assert "rpcName is none of" in refusal(database, connection, single("supabase_query", rpcName="fn_x"))
    assert "supabase_query" in refusal(database, connection, single("sql_query", query="SELECT 1"))
    configure(SUPABASE_URL="")
    assert "SUPABASE_URL" in refusal(database, connection, single("file_writer", objectKey="a.json"))


def test_a_storage_that_fails_fails_the_node_without_its_key(
    database: Database, connection: Connection, files: StorageServer
) -> None:
    files.failures = [503]
    error = execute_once(database, start(connection, *fed("file_writer"))).error("only")
    assert error.startswith("storage.unavailable")
    assert files.service_key not in error


GRANT = "GRANT EXECUTE ON FUNCTION public.fn_profile_completion_score TO authenticated"


def make_function(connection: Connection, body: str, arguments: str = "") -> None:
    statement = f"""
        CREATE FUNCTION public.fn_profile_completion_score({arguments})
        RETURNS TABLE (who text, score numeric)
        LANGUAGE plpgsql SET search_path = '' AS $$ BEGIN {body} END $$
    """
    call(connection, f"{statement}; {GRANT}; SELECT 1")


@BOTH_PLATFORMS
def test_a_function_is_asked_in_the_owners_rights_and_can_change_nothing(
    database: Database, connection: Connection, seeded: Seeded
) -> None:
    make_function(
        connection,
        "RETURN QUERY SELECT auth.uid() || ' ' || current_user || ' ' || p_ids[2], p_more;",
        "p_ids uuid[], p_more numeric DEFAULT 1.5",
    )
    ids = [str(uuid4()), str(uuid4())]
    query = single("supabase_query", rpcName="fn_profile_completion_score", params={"p_ids": ids})
    ran = execute_once(database, start(connection, query))
    asked_as = f"{seeded.users['ada']} authenticated {UUID(ids[1])}"
    assert ran.output("only")["rows"] == [{"who": asked_as, "score": 1.5}]
    wrong = single("supabase_query", rpcName="fn_profile_completion_score", params={"p_id": 1})
    assert "takes p_ids, p_more" in execute_once(database, start(connection, wrong)).error("only")
    stranger = start(connection, query, triggered_by=seeded.people["grace"])
    assert "run.no_rights" in execute_once(database, stranger).error("only")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("PERFORM secret FROM vault.secrets; RETURN;", "permission denied", id="rights"),
        pytest.param(
            "PERFORM pg_notify('a', 'b'); CREATE TEMP TABLE t (); RETURN;", "read-only", id="writes"
        ),
        pytest.param("PERFORM 1 / 0;", "division by zero", id="fails"),
    ],
)
def test_what_the_database_refuses_is_told(
    body: str, says: str, database: Database, connection: Connection
) -> None:
    make_function(connection, body)
    query = single("supabase_query", rpcName="fn_profile_completion_score")
    error = execute_once(database, start(connection, query)).error("only")
    assert error.startswith("query.refused")
    assert says in error
    assert database.call("SELECT current_user = session_user AS same")[0]["same"]
