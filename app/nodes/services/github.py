"""GitHub: read issues and pull requests, open issues, review pull requests (REST, version 2022-11-28)."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Query, Service
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, MaybeConnected, Text, Title, Words
from app.nodes.settings import spelled

GITHUB = Service(
    name="github",
    provider="github",
    root="https://api.github.com",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
)

#: Longest body of an issue or a review.
LONGEST_BODY = 65_000

_SCOPES = ("repo",)

Repo = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, pattern=r"^[A-Za-z0-9-]{1,39}/\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,98}$"
    ),
    named_in_url(r"github\.com[/:]([^/\s]+/[^/\s?#]+?)(?:\.git)?(?:[/?#]|$)"),
]
#: People as they are mentioned, or by their page.
_Logins = Annotated[
    Words, AfterValidator(lambda names: [name.rstrip("/").rpartition("/")[2].lstrip("@") for name in names])
]


class Found(Answer):
    """A repository, an issue or a pull request."""

    title: str | None = Field(default=None, validation_alias=spelled("title", "full_name"))
    number: int | None = None
    url: str = Field(validation_alias=spelled("html_url"))
    state: str | None = None
    text: str | None = Field(default=None, validation_alias=spelled("body", "description"))
    labels: list[str] = Field(default_factory=list)
    author: str | None = None
    is_draft: bool | None = Field(default=None, validation_alias=spelled("draft"))
    is_merged: bool | None = Field(default=None, validation_alias=spelled("merged"))

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        labels = [
            each.get("name", "") if isinstance(each, dict) else each for each in given.get("labels") or []
        ]
        user = given.get("user") or given.get("owner")
        return {**given, "labels": labels, "author": user.get("login") if isinstance(user, dict) else None}


class Reading(MaybeConnected):
    """The settings of `github_read`; without a connection it reads what is public."""

    repo: Repo = Field(validation_alias=spelled("repo", "repository"))
    resource_type: Literal["repository", "issue", "pull_request"] = "issue"
    number: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _names_one(self) -> Reading:
        if self.resource_type != "repository" and self.number is None:
            raise ValueError(f"the number of the {self.resource_type.replace('_', ' ')} is missing")
        return self


@operation("github_read", on=GITHUB, takes=Reading, gives=Found, again=Again.READS, scopes=_SCOPES)
def read(github: Call[Reading]) -> Found:
    """Read a repository, an issue or a pull request."""
    wanted = github.config
    below = {"repository": "", "issue": f"/issues/{wanted.number}", "pull_request": f"/pulls/{wanted.number}"}
    return github.get(f"/repos/{wanted.repo}{below[wanted.resource_type]}", Found)


class NewIssue(Connected):
    """The settings of `github_issue_create`; without a `body` it is the upstream's text."""

    repo: Repo = Field(validation_alias=spelled("repo", "repository"))
    title: Title
    body: Text = ""
    labels: Words = Field(default_factory=list)
    assignees: _Logins = Field(default_factory=list)


class Issue(Answer):
    """An issue that was opened."""

    number: int
    url: str = Field(validation_alias=spelled("html_url"))
    title: str = ""
    state: str = ""


class _Marked(Issue):
    body: str | None = None


class _Page(Answer):
    items: list[_Marked]

    @model_validator(mode="before")
    @classmethod
    def _is_list(cls, given: object) -> object:
        return {"items": given} if isinstance(given, list) else given


def _opened_before(github: Call[NewIssue]) -> Issue | None:
    """The issue that an earlier try opened: its body ends with the node's mark, which nobody sees."""
    since = github.task.run.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    query: Query = {"state": "all", "since": since, "per_page": 100, "sort": "created", "direction": "desc"}
    page = github.get(f"/repos/{github.config.repo}/issues", _Page, query)
    return next((issue for issue in page.items if _mark(github) in (issue.body or "")), None)


@operation(
    "github_issue_create",
    on=GITHUB,
    takes=NewIssue,
    gives=Issue,
    again=Again.TWICE,
    scopes=_SCOPES,
    earlier=_opened_before,
)
def create_issue(github: Call[NewIssue]) -> Issue:
    """Open an issue in a repository."""
    issue = github.config
    return github.post(
        f"/repos/{issue.repo}/issues",
        {
            "title": issue.title,
            "body": _marked(github, issue.body or github.task.text),
            "labels": list(issue.labels),
            "assignees": list(issue.assignees),
        },
        Issue,
    )


class NewReview(Connected):
    """The settings of `github_pr_review`; without a `body` it is the upstream's text."""

    repo: Repo = Field(validation_alias=spelled("repo", "repository"))
    number: int = Field(ge=1, validation_alias=spelled("number", "pullNumber", "prNumber"))
    event: Literal["COMMENT", "APPROVE", "REQUEST_CHANGES"] = "COMMENT"
    body: Text = Field(default="", validation_alias=spelled("body", "comment"))


class Review(Answer):
    """A review that was handed in."""

    id: int
    url: str = Field(validation_alias=spelled("html_url"))
    state: str = ""
    body: str | None = Field(default=None, exclude=True)


class _Reviews(Answer):
    items: list[Review]

    @model_validator(mode="before")
    @classmethod
    def _is_list(cls, given: object) -> object:
        return {"items": given} if isinstance(given, list) else given


def _reviewed_before(github: Call[NewReview]) -> Review | None:
    reviews = github.get(_reviews(github.config), _Reviews, {"per_page": 100})
    return next((each for each in reviews.items if _mark(github) in (each.body or "")), None)


@operation(
    "github_pr_review",
    on=GITHUB,
    takes=NewReview,
    gives=Review,
    again=Again.TWICE,
    scopes=_SCOPES,
    earlier=_reviewed_before,
)
def review(github: Call[NewReview]) -> Review:
    """Review a pull request: comment on it, approve it, or ask for changes."""
    wanted = github.config
    body = _marked(github, wanted.body or github.task.text)
    return github.post(_reviews(wanted), {"event": wanted.event, "body": body}, Review)


def _reviews(wanted: NewReview) -> str:
    return f"/repos/{wanted.repo}/pulls/{wanted.number}/reviews"


def _mark(github: Call[Connected]) -> str:
    return f"<!-- lenserfight {github.key} -->"


def _marked(github: Call[Connected], body: str) -> str:
    return f"{body[:LONGEST_BODY]}\n\n{_mark(github)}"
