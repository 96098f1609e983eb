"""GitHub's REST API: issues and reviews of one repository."""

from __future__ import annotations

import re
from typing import Any

from app.local.services.wire import Answered, Asked

REPO = "ada/engine"

_PATH = re.compile(rf"/repos/{REPO}(?:/(issues|pulls)(?:/(\d+)(/reviews)?)?)?")


class GitHub:
    """The repository `ada/engine`; `issues` and `reviews` are what was made there."""

    name = "github"

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.reviews: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Open and list issues, review pull requests and list reviews."""
        found = _PATH.fullmatch(asked.path)
        if asked.headers.get("x-github-api-version") != "2022-11-28" or found is None:
            return Answered(404, {"message": "Not Found"})
        kind, number, reviews = found.groups()
        if reviews:
            return self._review(asked) if asked.method == "POST" else Answered(200, self.reviews)
        if asked.method == "POST":
            return self._open(asked)
        if kind is None:
            return Answered(200, {"full_name": REPO, "html_url": f"https://github.com/{REPO}"})
        if number is None:
            return Answered(200, list(reversed(self.issues)))
        thing = {"number": int(number), "title": "A thing", "html_url": f"https://github.com/{REPO}/{number}"}
        return Answered(
            200, {**thing, "state": "open", "labels": [{"name": "bug"}], "user": {"login": "ada"}}
        )

    def _open(self, asked: Asked) -> Answered:
        wanted = asked.json
        if not wanted.get("title"):
            return Answered(
                422, {"message": "Validation Failed", "errors": [{"field": "title", "code": "missing"}]}
            )
        number = len(self.issues) + 1
        url = f"https://github.com/{REPO}/issues/{number}"
        self.issues.append({**wanted, "number": number, "html_url": url, "state": "open"})
        return Answered(201, self.issues[-1])

    def _review(self, asked: Asked) -> Answered:
        number = len(self.reviews) + 1
        url = f"https://github.com/{REPO}/pull/1#pullrequestreview-{number}"
        self.reviews.append({**asked.json, "id": number, "html_url": url, "state": "COMMENTED"})
        return Answered(200, self.reviews[-1])
