"""Jira Cloud: open issues (REST, version 3), at the site that the connection reaches."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints, model_validator

from app.nodes.effects import Unsent
from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service, segment
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Text, Title, Words
from app.nodes.settings import spelled

JIRA = Service(name="jira", provider="jira", root="https://api.atlassian.com")

ProjectKey = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z][A-Za-z0-9_]{1,15}$"),
    named_in_url(r"/browse/([A-Za-z][A-Za-z0-9_]*)", r"/projects/([A-Za-z][A-Za-z0-9_]*)"),
]


class NewIssue(Connected):
    """The settings of `jira_issue_create`; without a `description` it is the upstream's text.

    `site` names one of several sites by its name or URL.
    """

    project_key: ProjectKey
    summary: Title = Field(max_length=255, validation_alias=spelled("summary", "title"))
    issue_type: Text = "Task"
    priority: Text = "Medium"
    description: Text = Field(default="", validation_alias=spelled("description", "body"))
    labels: Words = Field(default_factory=list)
    site: Annotated[str, named_in_url(r"^(?:https?://)?([^/?#\s]+\.atlassian\.net)(?:[/?#]|$)")] = ""


class Issue(Answer):
    """An issue that was opened."""

    id: str
    key: str
    url: str = ""


class _Site(Answer):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    name: str = ""
    url: str = ""


class _Sites(Answer):
    items: list[_Site]

    @model_validator(mode="before")
    @classmethod
    def _is_list(cls, given: object) -> object:
        return {"items": given} if isinstance(given, list) else given


class _Fields(Answer):
    summary: str = ""


class _FoundIssue(Issue):
    fields: _Fields = _Fields()


class _Found(Answer):
    issues: list[_FoundIssue] = Field(default_factory=list)


def _opened_before(jira: Call[NewIssue]) -> Issue | None:
    """The issue of the same summary that this connection has opened since the run began."""
    site, wanted = _site(jira), jira.config
    since = jira.task.run.started_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    query = f'project = "{wanted.project_key}" AND reporter = currentUser() AND created >= "{since}"'
    body: JsonValue = {"jql": f"{query} ORDER BY created DESC", "fields": ["summary"], "maxResults": 100}
    found = jira.post(f"{_api(site)}/search/jql", body, _Found).issues
    same = next((issue for issue in found if issue.fields.summary == wanted.summary), None)
    return _at(site, same) if same else None


@operation(
    "jira_issue_create",
    on=JIRA,
    takes=NewIssue,
    gives=Issue,
    again=Again.TWICE,
    scopes=("write:jira-work",),
    earlier=_opened_before,
)
def create_issue(jira: Call[NewIssue]) -> Issue:
    """Open an issue in a project."""
    site, issue = _site(jira), jira.config
    fields: dict[str, JsonValue] = {
        "project": {"key": issue.project_key},
        "summary": issue.summary,
        "issuetype": {"name": issue.issue_type},
        "priority": {"name": issue.priority},
        "labels": list(issue.labels),
    }
    text = issue.description or jira.task.text
    if text:
        fields["description"] = _document(text)
    return _at(site, jira.post(f"{_api(site)}/issue", {"fields": fields}, Issue))


def _site(jira: Call[NewIssue]) -> _Site:
    """The one site of the connection, or the one that the settings name; raises `Unsent`."""
    sites = jira.get("/oauth/token/accessible-resources", _Sites).items
    wanted = jira.config.site.lower()
    if wanted:
        spellings = {wanted, f"https://{wanted}"}
        sites = [each for each in sites if {each.name.lower(), each.url.lower(), each.id} & spellings]
    if len(sites) != 1:
        names = ", ".join(each.name for each in sites) or "none"
        raise Unsent(f"jira.site: name one site with 'site'; the connection reaches {names}")
    return sites[0]


def _api(site: _Site) -> str:
    return f"/ex/jira/{site.id}/rest/api/3"


def _at(site: _Site, issue: Issue) -> Issue:
    return Issue(id=issue.id, key=issue.key, url=f"{site.url}/browse/{segment(issue.key)}")


def _document(text: str) -> JsonValue:
    """A text in Atlassian's document format, a paragraph for each of its own."""
    paragraphs: list[JsonValue] = [
        {"type": "paragraph", "content": [{"type": "text", "text": paragraph}]}
        for paragraph in text.split("\n\n")
        if paragraph.strip()
    ]
    return {"type": "doc", "version": 1, "content": paragraphs}
