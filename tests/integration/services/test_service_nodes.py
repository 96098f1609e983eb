"""Nodes that use connected services, on the services' own wire formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.engine import execute
from app.local.services.github import REPO
from app.local.services.google import SPREADSHEET
from app.local.services.notion import DATABASE, PAGE
from app.local.services.server import LOST, ServiceServer
from app.local.services.wire import Answered
from app.local.workflows import NodeSeed
from app.platform.workflows import WorkflowRun
from app.workflow import InvalidWorkflow
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.resumed_runs import execute_again, execute_and_lose
from tests.integration.services.cases import CASES, FOUND, READS, UNKNOWN, Case, token_of
from tests.integration.workflow_rows import hold_of, must_claim, rows

EVERY_TYPE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.node_type)
EVERY_EFFECT = pytest.mark.parametrize(
    "case", [case for case in CASES if case.lost != READS], ids=lambda case: case.node_type
)


def node_of(case: Case, **config: Any) -> dict[str, NodeSeed]:
    settings = {"nodeType": case.node_type, "connectorRef": case.ref, **case.config, **config}
    return {"it": NodeSeed(settings)}


def run(database: Database, connection: Connection, node_type: str, **config: Any) -> Ran:
    return execute_once(database, start(connection, {"it": NodeSeed({"nodeType": node_type, **config})}))


def wrong_with(database: Database, connection: Connection, nodes: dict[str, NodeSeed]) -> str:
    claimed = must_claim(database, hint=start(connection, nodes).run_id)
    with pytest.raises(InvalidWorkflow) as invalid:
        execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
    return str(invalid.value)


@EVERY_TYPE
def test_it_does_what_it_says_once_and_never_shows_its_token(
    case: Case,
    database: Database,
    connection: Connection,
    services: ServiceServer,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = start(connection, node_of(case))
    lost = execute_and_lose(database, ran, "it")
    asked = len(services.asked_of(case.service))
    execute_again(database, ran, lost)
    assert ran.output("it").items() >= case.gives.items()
    if case.lost != READS:
        assert len(services.asked_of(case.service)) == asked, "the receipt was asked for again"
        assert case.effects(services) == 1
    services.script(case.service, [Answered(500, {"message": f"Traceback {token_of(case.ref, services)}"})])
    execute_once(database, start(connection, node_of(case)))
    shown = [*rows(connection, DIGEST), caplog.text, *capsys.readouterr()]
    assert "planted" not in json.dumps(shown, default=str)


DIGEST = """
    SELECT (SELECT json_agg(r) FROM lenses.workflow_runs r) AS runs,
           (SELECT json_agg(n) FROM lenses.workflow_node_results n) AS nodes,
           (SELECT json_agg(e) FROM lenses.workflow_run_events e) AS events,
           (SELECT json_agg(c) FROM worker.claims c) AS claims,
           (SELECT json_agg(f) FROM worker.node_effects f) AS effects,
           (SELECT json_agg(m) FROM realtime.messages m) AS messages
"""


@EVERY_EFFECT
def test_an_answer_that_gets_lost_never_makes_a_second_one(
    case: Case, database: Database, connection: Connection, services: ServiceServer
) -> None:
    before = [Answered(200, services.jira.sites)] if case.service == "jira" else []
    services.script(case.service, [*before, LOST])
    ran = start(connection, node_of(case, retry={"attempts": 2, "backoffMs": 1}))
    execute_once(database, ran)
    assert case.effects(services) == 1
    if case.lost == UNKNOWN:
        assert ran.error("it").startswith("outcome_unknown")
    else:
        assert case.lost == FOUND
        assert ran.node("it")["retry_count"] == 1
        found = {name: value for name, value in case.gives.items() if name in ran.output("it")}
        assert found
        assert ran.output("it").items() >= found.items()


@EVERY_EFFECT
def test_what_was_refused_for_a_while_is_done_when_it_may(
    case: Case, database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.script(case.service, [Answered(429, {"message": "slow down"}, {"Retry-After": "0"})])
    ran = start(connection, node_of(case, retry={"attempts": 2, "backoffMs": 1}))
    assert execute_once(database, ran).output("it").items() >= case.gives.items()
    assert case.effects(services) == 1


@EVERY_TYPE
def test_what_it_lacks_is_named_before_the_run(
    case: Case, database: Database, connection: Connection, services: ServiceServer
) -> None:
    if case.node_type != "github_read":
        missing = wrong_with(database, connection, node_of(case, connectorRef=""))
        assert f"'it' ({case.node_type}): connectorRef" in missing
    foreign = wrong_with(database, connection, node_of(case, connectorRef="slack.chat.main"))
    assert "connectorRef names a connection to slack" in foreign
    if case.bad:
        assert f"'it' ({case.node_type}): " in wrong_with(database, connection, node_of(case, **case.bad))
    assert services.asked == []


@EVERY_TYPE
def test_a_connection_that_is_gone_or_refused_fails_the_node(
    case: Case, database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.script(case.service, [Answered(401, {"message": "Bad credentials"})])
    error = execute_once(database, start(connection, node_of(case))).error("it")
    assert error == f"{case.service}.status_401: Bad credentials"
    rows(
        connection,
        "UPDATE user_oauth_connections SET is_active = false, revoked_at = now() WHERE ref = %s",
        case.ref,
    )
    asked = len(services.asked)
    gone = execute_once(database, start(connection, node_of(case))).error("it")
    assert gone.startswith("connector.not_found")
    assert len(services.asked) == asked


def test_public_things_are_read_without_a_connection(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.script("github", [Answered(200, {"full_name": REPO, "html_url": "https://github.com/x"})])
    ran = run(database, connection, "github_read", repo=REPO, resourceType="repository", connectorRef="")
    assert ran.output("it")["title"] == REPO
    assert "authorization" not in services.asked[0].headers


def test_too_many_calls_are_told_from_a_ban(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    config = {"connectorRef": "github.repos.main", "repo": REPO, "number": 1}
    services.script("github", [Answered(403, {"message": "Resource not accessible"})])
    retry = {"attempts": 2, "backoffMs": 1, "maxBackoffMs": 1}
    banned = run(database, connection, "github_read", **config, retry=retry)
    assert (banned.error("it"), banned.node("it")["retry_count"]) == (
        "github.status_403: Resource not accessible",
        0,
    )
    services.script("github", [Answered(403, {"message": "rate limit"}, {"X-RateLimit-Remaining": "0"})])
    limited = run(database, connection, "github_read", **config, retry=retry)
    assert limited.output("it")["number"] == 1
    assert limited.node("it")["retry_count"] == 1


def test_errors_of_graphql_are_told_although_their_status_is_200(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    config = {"connectorRef": "monday.boards.main", "boardId": "9", "itemId": "404"}
    values = {"columnValues": {"status": "done"}}
    assert "no such item" in run(database, connection, "monday_item_update", **config, **values).error("it")
    assert "nothing is to be changed" in wrong_with(
        database,
        connection,
        {"it": NodeSeed({"nodeType": "monday_item_update", **config, "columnValues": "{}"})},
    )


def test_things_are_changed_and_lists_read_page_by_page(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    asana, monday = {"connectorRef": "asana.tasks.main"}, {"connectorRef": "monday.boards.main"}
    services.asana.tasks = {str(n): {"gid": str(n), "name": f"t{n}"} for n in range(250)}
    services.monday.items = [{"id": str(n), "name": f"i{n}"} for n in range(250)]
    listed = run(database, connection, "asana_project_tasks_list", **asana, projectId="9", limit=230)
    assert (listed.output("it")["count"], listed.output("it")["hasMore"]) == (230, True)
    assert listed.output("it")["items"][229]["name"] == "t229"
    items = run(database, connection, "monday_board_items_list", **monday, boardId="9", limit=500)
    assert (items.output("it")["count"], items.output("it")["hasMore"]) == (250, False)
    run(database, connection, "asana_task_update", **asana, taskGid="7", completed="true", notes="")
    assert services.asana.tasks["7"]["completed"] is True
    assert "notes" not in services.asana.tasks["7"]
    change = {"boardId": "9", "itemId": "3", "columnValues": '{"status": "done"}'}
    changed = run(database, connection, "monday_item_update", **monday, **change)
    assert changed.output("it")["columns"] == {"status": "done"}


def test_a_notion_page_is_written_in_pieces_that_notion_takes_and_read_back(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    notion = {"connectorRef": "notion.database.main", "pageId": PAGE}
    text = "A" * 4_500 + "\n\nB"
    written = run(database, connection, "notion_write", **notion, content=text)
    assert written.output("it")["id"] == PAGE
    lengths = [len(block["paragraph"]["rich_text"][0]["plain_text"]) for block in services.notion.blocks]
    assert lengths == [2000, 2000, 500, 1]
    assert run(database, connection, "notion_read", **notion).output("it")["text"].replace("\n", "") == (
        text.replace("\n", "")
    )
    services.notion.pages = [{"id": str(n), "url": f"https://notion.so/{n}"} for n in range(150)]
    entries = {"connectorRef": "notion.database.main", "databaseId": DATABASE, "limit": 120}
    read = run(database, connection, "notion_read", **entries).output("it")
    assert (read["count"], read["hasMore"], read["results"][119]["id"]) == (120, True, "119")


def test_a_sheet_is_overwritten_as_often_as_one_likes_and_formulas_stay_text(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    config = {"connectorRef": "google.sheets.main", "spreadsheetId": SPREADSHEET, "range": "A1"}
    for _ in range(2):
        run(
            database, connection, "google_sheets_write", **config, mode="overwrite", rows=[{"a": 1, "b": [2]}]
        )
    assert services.sheets.rows == [[1, "[2]"]]
    assert {asked.query["valueInputOption"] for asked in services.asked} == {"RAW"}
    empty = run(database, connection, "google_sheets_write", **config, values=[])
    assert empty.error("it").startswith("invalid_rows")


def test_a_jira_site_is_named_where_there_are_several(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.jira.sites.append({"id": "other", "name": "other", "url": "https://other.atlassian.net"})
    config = {"connectorRef": "jira.issues.main", "projectKey": "ENG", "summary": "S"}
    assert "engine, other" in run(database, connection, "jira_issue_create", **config).error("it")
    named = run(database, connection, "jira_issue_create", **config, site="https://engine.atlassian.net/")
    assert named.output("it")["key"] == "ENG-1"
    wrong = {**config, "projectKey": "OTHER", "site": "engine"}
    refused = run(database, connection, "jira_issue_create", **wrong).error("it")
    assert refused == "jira.status_400: project: valid project is required"


def test_a_zap_is_only_started_at_zapiers_own_hooks(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    rows(
        connection,
        "SELECT vault.update_secret(id, 'http://127.0.0.1:1/hooks/catch/1/x') FROM vault.secrets"
        " WHERE name LIKE %s",
        "%zapier%",
    )
    ran = run(database, connection, "zapier_webhook_trigger", connectorRef="zapier.webhooks.main", payload={})
    assert ran.error("it").startswith("zapier.no_hook")
    assert services.asked == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(Answered(200, {"number": "x"}), "github.unreadable", id="another-shape"),
        pytest.param(Answered(200, None), "github.unreadable", id="empty"),
        pytest.param(Answered(302, None, {"Location": "http://evil.example/"}), "status_302", id="redirect"),
    ],
)
def test_an_answer_that_makes_no_sense_fails_the_node(
    answer: Answered, says: str, database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.script("github", [answer])
    config = {"connectorRef": "github.repos.main", "repo": REPO, "number": 1}
    assert says in run(database, connection, "github_read", **config).error("it")
    assert len(services.asked) == 1
