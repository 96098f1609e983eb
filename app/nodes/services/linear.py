"""Linear: open issues (GraphQL)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service
from app.nodes.services.identifiers import uuid_of
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Id, Text, Title
from app.nodes.settings import spelled
from app.workflow import NodeFailure
from app.workflow.values import JsonObject

LINEAR = Service(name="linear", provider="linear", root="https://api.linear.app/graphql")

_CREATE = """
mutation ($input: IssueCreateInput!) {
  issueCreate(input: $input) { success issue { id identifier url title } }
}
"""
_FIND = "query ($id: String!) { issue(id: $id) { id identifier url title } }"

_PRIORITIES = {"none": 0, "no priority": 0, "urgent": 1, "high": 2, "medium": 3, "normal": 3, "low": 4}


def _read_priority(value: object) -> object:
    return _PRIORITIES.get(value.strip().lower(), value) if isinstance(value, str) else value


class NewIssue(Connected):
    """The settings of `linear_issue_create`; without a `description` it is the upstream's text."""

    team_id: Id
    title: Title
    description: Text = Field(default="", validation_alias=spelled("description", "body"))
    priority: Annotated[int, BeforeValidator(_read_priority), Field(ge=0, le=4)] = 2


class Issue(Answer):
    """An issue that was opened; `identifier` is what people call it."""

    id: str
    identifier: str
    url: str
    title: str = ""


class _Made(Answer):
    success: bool = False
    issue: Issue | None = None


class _Created(Answer):
    made: _Made = Field(validation_alias=spelled("issueCreate"))


class _Found(Answer):
    issue: Issue


def _opened_before(linear: Call[NewIssue]) -> Issue | None:
    try:
        return linear.graphql(_FIND, {"id": uuid_of(linear.key)}, _Found).issue
    except NodeFailure as failure:
        if failure.cause is not None:
            raise
        return None  # there is none of this id


@operation(
    "linear_issue_create",
    on=LINEAR,
    takes=NewIssue,
    gives=Issue,
    again=Again.TWICE,
    scopes=("linear:write",),
    earlier=_opened_before,
)
def create_issue(linear: Call[NewIssue]) -> Issue:
    """Open an issue for a team, under an id that is this node's own."""
    issue = linear.config
    wanted: JsonObject = {
        "id": uuid_of(linear.key),
        "teamId": issue.team_id,
        "title": issue.title,
        "description": issue.description or linear.task.text,
        "priority": issue.priority,
    }
    created = linear.graphql(_CREATE, {"input": wanted}, _Created).made
    if created.issue is None:
        raise NodeFailure("linear.refused: no issue was made")
    return created.issue
