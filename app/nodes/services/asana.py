"""Asana: make, change and list tasks (REST, version 1.0)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service, segment
from app.nodes.services.identifiers import digest_of
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Id, OptionalId, Text, Title
from app.nodes.settings import spelled
from app.workflow.values import JsonObject

ASANA = Service(name="asana", provider="asana", root="https://app.asana.com/api/1.0")

#: Most tasks that one node lists.
MOST_TASKS = 500
PAGE_SIZE = 100

#: Where ids stand in the addresses of pages, today's and the earlier ones.
_IN_PROJECT = named_in_url(r"/project/(\d+)", r"asana\.com/0/(\d+)")
_IN_TASK = named_in_url(r"/task/(\d+)", r"asana\.com/0/\d+/(\d+)")

_READS, _WRITES = ("asana:tasks:read",), ("asana:tasks:write",)
_FIELDS = "name,completed,due_on,permalink_url,assignee.name,notes"


class _Named(Answer):
    name: str = ""


class AsanaTask(Answer):
    """A task."""

    gid: str
    name: str = ""
    url: str = Field(default="", validation_alias=spelled("permalink_url"))
    completed: bool | None = None
    due_on: str | None = None
    notes: str | None = None
    assignee: _Named | None = None


class _One(Answer):
    data: AsanaTask


class NewTask(Connected):
    """The settings of `asana_task_create`; without `notes` they are the upstream's text."""

    name: Title = Field(validation_alias=spelled("name", "title"))
    notes: Text = Field(default="", validation_alias=spelled("notes", "description"))
    project_id: Annotated[OptionalId, _IN_PROJECT] = Field(
        default=None, validation_alias=spelled("projectId", "projectGid", "project")
    )
    workspace_id: OptionalId = Field(
        default=None, validation_alias=spelled("workspaceId", "workspaceGid", "workspace")
    )
    assignee: Text = ""
    due_on: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")

    @model_validator(mode="after")
    def _goes_somewhere(self) -> NewTask:
        if not self.project_id and not self.workspace_id:
            raise ValueError("a projectId or a workspaceId is needed")
        return self


def _made_before(asana: Call[NewTask]) -> AsanaTask | None:
    found = asana.find(f"/tasks/external:{digest_of(asana.key)}", _One, {"opt_fields": _FIELDS})
    return found.data if found else None


@operation(
    "asana_task_create",
    on=ASANA,
    takes=NewTask,
    gives=AsanaTask,
    again=Again.TWICE,
    scopes=_WRITES,
    earlier=_made_before,
)
def create_task(asana: Call[NewTask]) -> AsanaTask:
    """Make a task in a project or a workspace, under an outside id that is this node's own."""
    task = asana.config
    wanted: dict[str, JsonValue] = {
        "name": task.name,
        "notes": task.notes or asana.task.text,
        "external": {"gid": digest_of(asana.key)},
    }
    more: dict[str, JsonValue] = {
        "projects": [task.project_id] if task.project_id else None,
        "workspace": task.workspace_id,
        "assignee": task.assignee,
        "due_on": task.due_on,
    }
    data = {**wanted, **{name: value for name, value in more.items() if value}}
    return asana.post("/tasks", {"data": data}, _One, {"opt_fields": _FIELDS}).data


class TaskChange(Connected):
    """The settings of `asana_task_update`; what they leave out stays as it is."""

    task_id: Annotated[Id, _IN_TASK] = Field(validation_alias=spelled("taskId", "taskGid"))
    name: Text | None = None
    notes: Text | None = None
    completed: bool | None = None
    assignee: Text | None = None
    due_on: str | None = Field(default=None, pattern=r"^(\d{4}-\d{2}-\d{2})?$")

    @property
    def changes(self) -> JsonObject:
        """What shall be otherwise, by Asana's names; blank fields of forms change nothing."""
        wanted = self.model_dump(include={"name", "notes", "completed", "assignee", "due_on"})
        return {name: value for name, value in wanted.items() if value not in (None, "")}

    @model_validator(mode="after")
    def _changes_something(self) -> TaskChange:
        if not self.changes:
            raise ValueError("nothing is to be changed")
        return self


@operation("asana_task_update", on=ASANA, takes=TaskChange, gives=AsanaTask, again=Again.SAME, scopes=_WRITES)
def update_task(asana: Call[TaskChange]) -> AsanaTask:
    """Change a task."""
    path = f"/tasks/{segment(asana.config.task_id)}"
    return asana.put(path, {"data": asana.config.changes}, _One, {"opt_fields": _FIELDS}).data


class Listing(Connected):
    """The settings of `asana_project_tasks_list`."""

    project_id: Annotated[Id, _IN_PROJECT] = Field(
        validation_alias=spelled("projectId", "projectGid", "project")
    )
    limit: int = Field(default=100, ge=1, le=MOST_TASKS, validation_alias=spelled("limit", "maxItems"))


class Tasks(Answer):
    """Tasks of a project."""

    items: list[JsonObject] = Field(default_factory=list)
    count: int = 0
    has_more: bool = False


class _NextPage(Answer):
    offset: str


class _Listed(Answer):
    data: list[AsanaTask]
    next_page: _NextPage | None = None


@operation("asana_project_tasks_list", on=ASANA, takes=Listing, gives=Tasks, again=Again.READS, scopes=_READS)
def list_tasks(asana: Call[Listing]) -> Tasks:
    """List the tasks of a project."""
    found: list[AsanaTask] = []
    query: dict[str, str | int] = {"opt_fields": _FIELDS}
    while True:
        query["limit"] = min(PAGE_SIZE, asana.config.limit - len(found))
        page = asana.get(f"/projects/{segment(asana.config.project_id)}/tasks", _Listed, query)
        found += page.data
        if page.next_page is None or len(found) >= asana.config.limit:
            break
        query["offset"] = page.next_page.offset
    items = [task.told() for task in found[: asana.config.limit]]
    return Tasks(items=items, count=len(items), has_more=page.next_page is not None)
