"""One case for each node type of a service: what it is told, what it gives, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.local.services.github import REPO
from app.local.services.google import SPREADSHEET
from app.local.services.notion import DATABASE, PAGE
from app.local.services.server import ServiceServer
from app.local.services.trackers import SITE

SHEETS = "https://www.googleapis.com/auth/spreadsheets"
CALENDAR = "https://www.googleapis.com/auth/calendar"

#: What happens if the answer to an effect gets lost: the node finds what came of it, or can't know.
FOUND, UNKNOWN, READS = "found", "unknown", "reads"


@dataclass(frozen=True)
class Case:
    """A node type, settings that work, part of its output, and how much of an effect there is afterwards."""

    node_type: str
    service: str
    ref: str
    scopes: tuple[str, ...]
    config: Mapping[str, Any]
    gives: Mapping[str, Any]
    lost: str
    effects: Callable[[ServiceServer], int] = field(default=lambda services: 0)
    bad: Mapping[str, Any] = field(default_factory=dict)


def token_of(ref: str, services: ServiceServer) -> str:
    """The credential of a connection, planted so that it is found wherever it turns up."""
    provider, _, label = ref.split(".")
    if provider == "zapier":
        return f"{services.root('zapier')}/hooks/catch/123/plantedhook{label}"
    return f"{provider}-planted-token-{label}-0123456789"


ROWS = [{"a": "=1+1", "b": {"n": 1}}, {"a": "x", "b": None}]

_GITHUB = {"service": "github", "ref": "github.repos.main", "scopes": ("repo",)}
_ASANA = {"service": "asana", "ref": "asana.tasks.main"}
_MONDAY = {"service": "monday", "ref": "monday.boards.main"}
_NOTION = {"service": "notion", "ref": "notion.database.main"}
_SHEETS = {"service": "google_sheets", "ref": "google.sheets.main", "scopes": (SHEETS,)}

CASES = [
    Case(
        "github_read",
        **_GITHUB,
        config={"repository": REPO, "resourceType": "pull_request", "number": "7"},
        gives={"title": "A thing", "number": 7, "author": "ada", "labels": ["bug"]},
        lost=READS,
        bad={"number": ""},
    ),
    Case(
        "github_issue_create",
        **_GITHUB,
        config={"repo": REPO, "title": "It leaks", "body": "Oil.", "labels": "bug, engine"},
        gives={"number": 1, "url": f"https://github.com/{REPO}/issues/1", "state": "open"},
        lost=FOUND,
        effects=lambda services: len(services.github.issues),
        bad={"repo": "../../etc"},
    ),
    Case(
        "github_pr_review",
        **_GITHUB,
        config={"repo": REPO, "number": 1, "event": "APPROVE", "body": "Good."},
        gives={"id": 1},
        lost=FOUND,
        effects=lambda services: len(services.github.reviews),
        bad={"event": "MERGE"},
    ),
    Case(
        "notion_read",
        **_NOTION,
        scopes=("notion:read",),
        config={"databaseId": DATABASE, "pageId": ""},
        gives={"count": 0, "hasMore": False, "results": []},
        lost=READS,
        bad={"databaseId": ""},
    ),
    Case(
        "notion_write",
        **_NOTION,
        scopes=("notion:write",),
        config={"databaseId": DATABASE, "properties": '{"Name": {"title": []}}', "content": "One\n\nTwo"},
        gives={"url": f"https://notion.so/{1:032d}"},
        lost=UNKNOWN,
        effects=lambda services: len(services.notion.pages),
        bad={"pageId": PAGE},
    ),
    Case(
        "google_sheets_read",
        **_SHEETS,
        config={"spreadsheetId": SPREADSHEET, "range": "Sheet 1!A1:B2"},
        gives={"range": "Sheet 1!A1:B2", "values": []},
        lost=READS,
        bad={"spreadsheetId": "short"},
    ),
    Case(
        "google_sheets_write",
        **_SHEETS,
        config={"spreadsheetId": SPREADSHEET, "range": "A:B", "values": ROWS},
        gives={"updatedRows": 2, "updatedCells": 4},
        lost=FOUND,
        effects=lambda services: len(services.sheets.rows) // 2,
        bad={"mode": "prepend"},
    ),
    Case(
        "calendar_create",
        service="google_calendar",
        ref="google.calendar.main",
        scopes=(CALENDAR, f"{CALENDAR}.events"),
        config={"title": "Tea", "start": "2026-12-01T16:00:00+00:00", "end": "2026-12-01T17:00:00+00:00"},
        gives={"status": "confirmed", "summary": "Tea"},
        lost=FOUND,
        effects=lambda services: len(services.calendar.events),
        bad={"start": "teatime"},
    ),
    Case(
        "linear_issue_create",
        service="linear",
        ref="linear.issues.main",
        scopes=("linear:write",),
        config={"teamId": "9cfb482a-81e3-4154-b5b9-2c805e70a02d", "title": "It leaks", "priority": "urgent"},
        gives={"identifier": "ENG-1", "url": "https://linear.app/engine/issue/ENG-1"},
        lost=FOUND,
        effects=lambda services: len(services.linear.issues),
        bad={"priority": 9},
    ),
    Case(
        "jira_issue_create",
        service="jira",
        ref="jira.issues.main",
        scopes=("write:jira-work",),
        config={"projectKey": "ENG", "summary": "It leaks", "description": "Oil."},
        gives={"key": "ENG-1", "url": f"{SITE}/browse/ENG-1"},
        lost=FOUND,
        effects=lambda services: len(services.jira.issues),
        bad={"projectKey": "e g"},
    ),
    Case(
        "asana_task_create",
        **_ASANA,
        scopes=("asana:tasks:write",),
        config={"name": "Oil it", "projectGid": 1200, "notes": "Soon."},
        gives={"name": "Oil it", "url": "https://app.asana.com/0/0/1200000000"},
        lost=FOUND,
        effects=lambda services: len(services.asana.tasks),
        bad={"projectGid": ""},
    ),
    Case(
        "asana_project_tasks_list",
        **_ASANA,
        scopes=("asana:tasks:read",),
        config={"projectId": "1200"},
        gives={"count": 0, "hasMore": False},
        lost=READS,
        bad={"limit": 0},
    ),
    Case(
        "monday_item_create",
        **_MONDAY,
        scopes=("monday:boards:write",),
        config={"boardId": 99, "itemName": "Oil it", "columnValues": '{"status": "new"}'},
        gives={"id": "1", "name": "Oil it", "columns": {"status": "new"}},
        lost=UNKNOWN,
        effects=lambda services: len(services.monday.items),
        bad={"itemName": " "},
    ),
    Case(
        "monday_board_items_list",
        **_MONDAY,
        scopes=("monday:boards:read",),
        config={"boardId": "99"},
        gives={"count": 0},
        lost=READS,
        bad={"boardId": "a b"},
    ),
    Case(
        "zapier_webhook_trigger",
        service="zapier",
        ref="zapier.webhooks.main",
        scopes=("zapier:webhook:trigger",),
        config={"payload": {"n": 1}},
        gives={"status": "success", "requestId": "req-1"},
        lost=UNKNOWN,
        effects=lambda services: len(services.zapier.caught),
    ),
]
