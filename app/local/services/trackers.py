"""Linear, Jira, Asana and monday.com: issues, tasks and items in memory."""

from __future__ import annotations

import json
import re
from typing import Any

from app.local.services.wire import Answered, Asked

CLOUD = "11223344-a1b2-3b33-c444-def123456789"
SITE = "https://engine.atlassian.net"


class Linear:
    """Issues by their ids, which the caller may choose."""

    name = "linear"

    def __init__(self) -> None:
        self.issues: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> Answered:
        """Do the two documents that are known: make an issue, and give one."""
        query, variables = asked.json["query"], asked.json["variables"]
        if "issueCreate" in query:
            wanted = variables["input"]
            if wanted["id"] in self.issues:
                return _graphql_error("conflict on insert of Issue", "INPUT_ERROR")
            number = f"ENG-{len(self.issues) + 1}"
            self.issues[wanted["id"]] = {
                **wanted,
                "identifier": number,
                "url": f"https://linear.app/engine/issue/{number}",
            }
            made = {"success": True, "issue": self.issues[wanted["id"]]}
            return Answered(200, {"data": {"issueCreate": made}})
        issue = self.issues.get(variables["id"])
        return Answered(200, {"data": {"issue": issue}}) if issue else _graphql_error("Entity not found")


class Jira:
    """One site with its issues."""

    name = "jira"

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.sites = [{"id": CLOUD, "name": "engine", "url": SITE, "scopes": ["write:jira-work"]}]

    def answer(self, asked: Asked) -> Answered:
        """Tell of the site, open issues and search them."""
        root = f"/ex/jira/{CLOUD}/rest/api/3"
        if asked.path == "/oauth/token/accessible-resources":
            return Answered(200, self.sites)
        if asked.path == f"{root}/search/jql":
            return Answered(200, {"issues": list(reversed(self.issues)), "isLast": True})
        if asked.path != f"{root}/issue":
            return Answered(404, {"errorMessages": ["not found"], "errors": {}})
        fields = asked.json["fields"]
        if fields["project"]["key"] != "ENG":
            return Answered(400, {"errorMessages": [], "errors": {"project": "valid project is required"}})
        number = len(self.issues) + 1
        issue = {"id": str(10_000 + number), "key": f"ENG-{number}", "self": f"{SITE}/rest/{number}"}
        self.issues.append({**issue, "fields": fields})
        return Answered(201, issue)


class Asana:
    """Tasks by their gids, and by the outside ids that callers gave them."""

    name = "asana"

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> Answered:
        """Make, change, find and list tasks."""
        if asked.method == "POST" and asked.path == "/tasks":
            gid = str(1_200_000_000 + len(self.tasks))
            url = f"https://app.asana.com/0/0/{gid}"
            self.tasks[gid] = {"gid": gid, "permalink_url": url, "completed": False, **asked.json["data"]}
            return Answered(201, {"data": self.tasks[gid]})
        if asked.path.endswith("/tasks"):
            return self._list(asked)
        task = self._find(asked.path.removeprefix("/tasks/"))
        if task is None:
            return Answered(404, {"errors": [{"message": "task: Unknown object"}]})
        if asked.method == "PUT":
            task |= asked.json["data"]
        return Answered(200, {"data": task})

    def _find(self, name: str) -> dict[str, Any] | None:
        outside = name.removeprefix("external:")
        if outside == name:
            return self.tasks.get(name)
        return next((t for t in self.tasks.values() if t.get("external", {}).get("gid") == outside), None)

    def _list(self, asked: Asked) -> Answered:
        start, size = int(asked.query.get("offset", 0)), int(asked.query["limit"])
        tasks = list(self.tasks.values())
        more = {"offset": str(start + size)} if start + size < len(tasks) else None
        return Answered(200, {"data": tasks[start : start + size], "next_page": more})


class Monday:
    """Items of one board."""

    name = "monday"

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Do the three documents that are known: make an item, change one, list them."""
        query, given = asked.json["query"], asked.json["variables"]
        if asked.headers["authorization"].startswith("Bearer"):
            return Answered(401, {"errors": [{"message": "Not Authenticated"}]})
        if "create_item" in query:
            self.items.append({"id": str(len(self.items) + 1), "name": given["name"]})
            return self._change("create_item", self.items[-1], given)
        if "change_multiple_column_values" in query:
            found = next((item for item in self.items if item["id"] == given["item"]), None)
            if found is None:
                return Answered(
                    200, {"error_code": "InvalidItemIdException", "error_message": "no such item"}
                )
            return self._change("change_multiple_column_values", found, given)
        start, size = int(given["cursor"] or 0), given["limit"]
        cursor = str(start + size) if start + size < len(self.items) else None
        page = {"cursor": cursor, "items": self.items[start : start + size]}
        return Answered(200, {"data": {"boards": [{"items_page": page}]}})

    def _change(self, operation: str, item: dict[str, Any], given: dict[str, Any]) -> Answered:
        values = json.loads(given["values"])
        item["column_values"] = [{"id": name, "text": str(value)} for name, value in values.items()]
        return Answered(200, {"data": {operation: item}})


class Zapier:
    """Catch hooks; `caught` is what came in."""

    name = "zapier"

    def __init__(self) -> None:
        self.caught: list[Any] = []

    def answer(self, asked: Asked) -> Answered:
        """Take whatever comes to a hook."""
        if not re.fullmatch(r"/hooks/catch/\d+/\w+/?", asked.path):
            return Answered(404, {"status": "error"})
        self.caught.append(asked.json)
        return Answered(200, {"status": "success", "request_id": f"req-{len(self.caught)}"})


def _graphql_error(message: str, code: str = "") -> Answered:
    return Answered(200, {"data": None, "errors": [{"message": message, "extensions": {"code": code}}]})
