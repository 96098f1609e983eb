"""Settings of nodes that people paste, as each node type reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.nodes import node_types

CONNECTED = {
    "github": {"connectorRef": " “github.repos.work” "},
    "google": {"connectorRef": "google.files.work"},
    "jira": {"connectorRef": "jira.issues.work"},
    "asana": {"connectorRef": "asana.tasks.work"},
    "monday": {"connectorRef": "monday.boards.work"},
    "notion": {"connectorRef": "notion.pages.work"},
}
ISSUE = {**CONNECTED["jira"], "summary": "x"}
SHEET = {**CONNECTED["google"], "range": "A1:B2"}
EVENT = {**CONNECTED["google"], "summary": "x", "start": "2026-01-31", "end": "2026-02-01"}
MAIL = {"subject": "x"}
HEX = "0123456789abcdef0123456789abcdef"
SHEET_ID = "1aBcDeFgHiJkLmNoPqRsTuVwXyZ_0123456789-abcde"


def read(node_type: str, field: str, **given: Any) -> Any:
    value = getattr(node_types()[node_type].config.model_validate(given), field)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.fixture(autouse=True)
def deployment(configure: Callable[..., None]) -> None:
    configure(DATABASE_URL="postgresql://nowhere/db")


@pytest.mark.parametrize(
    ("node_type", "field", "given", "value"),
    [
        ("http_request", "url", {"url": "<https://example.org/a>"}, "https://example.org/a"),
        (
            "http_request",
            "allowlisted_hosts",
            {"url": "x", "allowedHosts": "https://API.example.org/v1, b.example:8443"},
            ["api.example.org", "b.example:8443"],
        ),
        (
            "http_request",
            "allowlisted_origins",
            {"url": "x", "allowedOrigins": ["https://a.example/x", "b.example"]},
            ["https://a.example", "https://b.example"],
        ),
        (
            "graphql_request",
            "url",
            {"endpoint": " example.org/graphql ", "query": "{a}"},
            "https://example.org/graphql",
        ),
        ("webhook_sender", "url", {"url": "“https://example.org/hook”"}, "https://example.org/hook"),
        ("rss_feed", "feed_url", {"url": "feed://example.org/rss"}, "https://example.org/rss"),
        (
            "file_reader",
            "url",
            {"url": "[a](https://a.supabase.co/x y.txt)".replace(" ", "%20")},
            "https://a.supabase.co/x%20y.txt",
        ),
        (
            "file_reader",
            "allowed_domains",
            {"allowedDomains": "https://Example.org/, .b.example"},
            ["example.org", ".b.example"],
        ),
        (
            "object_storage_upload",
            "source_url",
            {"objectKey": "a", "sourceUrl": "<https://example.org/a.png>"},
            "https://example.org/a.png",
        ),
        (
            "image_analyze",
            "source_url",
            {"imageUrl": "'https://example.org/a.png'"},
            "https://example.org/a.png",
        ),
        (
            "image_analyze",
            "source_url",
            {"imageUrl": " data:image/png;base64,aGk= "},
            "data:image/png;base64,aGk=",
        ),
        ("speech_to_text", "source_url", {"audioUrl": "example.org/a.mp3"}, "https://example.org/a.mp3"),
        (
            "slack_notify",
            "webhook_url",
            {"webhookUrl": "<https://hooks.slack.com/services/T/B/x>"},
            "https://hooks.slack.com/services/T/B/x",
        ),
        (
            "discord_notify",
            "webhook_url",
            {"webhookUrl": "\u200bhttps://discord.com/api/webhooks/1/x\n"},
            "https://discord.com/api/webhooks/1/x",
        ),
        *(
            ("slack_notify", "channel_id", {"connectorRef": "slack.chat.work", "channel": pasted}, value)
            for pasted, value in [
                (" #general ", "#general"),
                ("“general”", "general"),
                ("<#C0123ABC|general>", "C0123ABC"),
                ("https://acme.slack.com/archives/C0123ABC/p17000", "C0123ABC"),
            ]
        ),
        *(
            ("telegram_notify", "chat_id", {"botToken": "x", "chatId": pasted}, value)
            for pasted, value in [
                ("@news", "@news"),
                ("news_of_ada", "@news_of_ada"),
                ("https://t.me/news_of_ada", "@news_of_ada"),
                ("t.me/s/news_of_ada/12", "@news_of_ada"),
                (-100123, "-100123"),
                (" -100123 ", "-100123"),
                ("https://t.me/c/123/4", "https://t.me/c/123/4"),
            ]
        ),
        ("telegram_notify", "bot_token", {"botToken": '"123:Ab-c_d"', "chatId": "1"}, "123:Ab-c_d"),
        (
            "telegram_notify",
            "bot_token",
            {"botToken": "https://api.telegram.org/bot123:Ab-c_d/getMe", "chatId": "1"},
            "123:Ab-c_d",
        ),
        (
            "email_send",
            "to",
            {**MAIL, "to": '"Lovelace, Ada" <ada@example.org>; mailto:grace@example.org'},
            ["ada@example.org", "grace@example.org"],
        ),
        (
            "email_send",
            "cc",
            {**MAIL, "to": "a@example.org", "cc": ["Ada <ada@example.org>"]},
            ["ada@example.org"],
        ),
        (
            "email_send",
            "reply_to",
            {**MAIL, "to": "a@example.org", "replyTo": "<ada@example.org>"},
            ["ada@example.org"],
        ),
        (
            "calendar_create",
            "attendees",
            {**EVENT, "attendees": "Ada <ada@example.org>, b@example.org"},
            ["ada@example.org", "b@example.org"],
        ),
        *(
            ("github_read", "repo", {"resourceType": "repository", "repo": pasted}, "ada/engine.js")
            for pasted in [
                "ada/engine.js",
                " “ada/engine.js” ",
                "https://github.com/ada/engine.js",
                "github.com/ada/engine.js.git",
                "git@github.com:ada/engine.js.git",
                "https://github.com/ada/engine.js/issues/7?x#y",
                "<https://github.com/ada/engine.js/>",
            ]
        ),
        (
            "github_issue_create",
            "connector_ref",
            {**CONNECTED["github"], "repo": "a/b", "title": "x"},
            "github.repos.work",
        ),
        (
            "github_issue_create",
            "assignees",
            {**CONNECTED["github"], "repo": "a/b", "title": "x", "assignees": "@ada, https://github.com/bob"},
            ["ada", "bob"],
        ),
        (
            "google_sheets_read",
            "spreadsheet_id",
            {
                **SHEET,
                "spreadsheetId": f"https://docs.google.com/spreadsheets/d/{SHEET_ID}/edit?usp=sharing#gid=0",
            },
            SHEET_ID,
        ),
        *(
            ("notion_read", "page_id", {**CONNECTED["notion"], "pageId": pasted}, HEX)
            for pasted in [HEX, f"https://www.notion.so/acme/My-Page-{HEX}?pvs=4", f"notion.so/{HEX}#block"]
        ),
        ("jira_issue_create", "project_key", {**ISSUE, "projectKey": " eng "}, "ENG"),
        (
            "jira_issue_create",
            "project_key",
            {**ISSUE, "projectKey": "https://a.atlassian.net/browse/ENG-12"},
            "ENG",
        ),
        (
            "jira_issue_create",
            "site",
            {**ISSUE, "projectKey": "ENG", "site": "https://a.atlassian.net/jira/software"},
            "a.atlassian.net",
        ),
        (
            "monday_item_update",
            "item_id",
            {
                **CONNECTED["monday"],
                "boardId": "https://a.monday.com/boards/12",
                "itemId": "https://a.monday.com/boards/12/pulses/34",
                "columnValues": {"a": 1},
            },
            "34",
        ),
        (
            "asana_task_create",
            "project_id",
            {**CONNECTED["asana"], "name": "x", "projectId": "https://app.asana.com/0/12/list"},
            "12",
        ),
        (
            "asana_task_create",
            "project_id",
            {**CONNECTED["asana"], "name": "x", "projectId": "https://app.asana.com/1/9/project/12/list"},
            "12",
        ),
    ],
)
def test_a_setting_is_read_as_it_was_meant(
    node_type: str, field: str, given: dict[str, Any], value: Any
) -> None:
    assert read(node_type, field, **given) == value


@pytest.mark.parametrize(
    ("node_type", "given"),
    [
        ("email_send", {**MAIL, "to": "ada@example.org\r\nBcc: eve@evil.example"}),
        ("email_send", {**MAIL, "to": "Team: ada@example.org;"}),
        ("email_send", {**MAIL, "to": ""}),
        ("email_send", {**MAIL, "to": "a@example.org", "replyTo": "b@example.org; c@example.org"}),
        ("calendar_create", {**EVENT, "attendees": "Ada"}),
        ("github_read", {"resourceType": "repository", "repo": "https://github.com/ada"}),
        ("github_read", {"resourceType": "repository", "repo": "ada/../bob/x"}),
        ("google_sheets_read", {**SHEET, "spreadsheetId": "https://docs.google.com/document/d/x"}),
        ("notion_read", {**CONNECTED["notion"], "pageId": "https://www.notion.so/acme/My-Page"}),
        ("discord_notify", {"webhookUrl": " \u200b "}),
    ],
)
def test_what_can_not_be_meant_is_refused(node_type: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        node_types()[node_type].config.model_validate(given)


@pytest.mark.parametrize(
    ("url", "hosts", "complaint"),
    [
        ("<https://a.example/x>", "a.example", None),
        ("a.example/x", "https://a.example", None),
        ("https://bücher.example/", "bücher.example", None),
        ("https://b.example/", "a.example", "host_not_allowlisted"),
        ("https://a.example.b.example/", "a.example", "host_not_allowlisted"),
        ("https://a.example@b.example/", "a.example", "the URL is refused"),
        ("https://127.0.0.1/", "127.0.0.1", "the host leads to a loopback address"),
        ("https://１２７.0.0.1/", "127.0.0.1", "the host leads to a loopback address"),
        ("<javascript:alert(1)>", "a.example", "the URL is refused"),
    ],
)
def test_the_guard_judges_what_was_read(url: str, hosts: str, complaint: str | None) -> None:
    kind = node_types()["http_request"]
    assert kind.check is not None
    found = kind.check(kind.config.model_validate({"url": url, "allowedHosts": hosts}))
    assert (found is None) == (complaint is None)
    assert (complaint or "") in (found or "")


@pytest.mark.parametrize(
    "url", ["{{host}}/x", "https://{{host}}/x", "{{host}}.example/x", "<https://a{{x}}.example>"]
)
def test_a_host_that_is_filled_in_still_needs_a_list(url: str) -> None:
    config = node_types()["http_request"].config.model_validate({"url": url})
    assert "allowlist_required" in config.complaint_about_origin(config.url)  # type: ignore[attr-defined]
