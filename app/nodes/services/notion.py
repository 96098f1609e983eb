"""Notion: read pages and databases, add pages and text (REST, version 2022-06-28)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Fields, Text
from app.nodes.settings import spelled
from app.workflow.values import JsonObject

NOTION = Service(
    name="notion",
    provider="notion",
    root="https://api.notion.com/v1",
    headers={"Notion-Version": "2022-06-28"},
)

#: Notion's own limits: of a piece of text, of blocks in one request, and of results on a page.
LONGEST_TEXT = 2_000
MOST_BLOCKS = 100
PAGE_SIZE = 100

#: Most results that one node reads.
MOST_RESULTS = 500

NotionId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=r"^[0-9A-Fa-f-]{32,36}$"),
    named_in_url(
        r"notion\.(?:so|site)/[^?#]*?([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?:[?#/]|$)"
    ),
]


class Reading(Connected):
    """The settings of `notion_read`: a page with its text, or the entries of a database."""

    page_id: NotionId | None = None
    database_id: NotionId | None = None
    filter: Fields | None = None
    limit: int = Field(default=100, ge=1, le=MOST_RESULTS, validation_alias=spelled("limit", "maxItems"))

    @model_validator(mode="before")
    @classmethod
    def _drop_blanks(cls, given: object) -> object:
        return {k: v for k, v in given.items() if v != ""} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _names_one(self) -> Reading:
        if (self.page_id is None) == (self.database_id is None):
            raise ValueError("either a pageId or a databaseId is needed")
        return self


class Page(Answer):
    """A page: its properties and, where it was asked for, its text."""

    id: str
    url: str = ""
    properties: dict[str, JsonValue] = Field(default_factory=dict)


class Content(Answer):
    """What was read: a page, or a database's entries."""

    url: str | None = None
    text: str | None = None
    properties: dict[str, JsonValue] | None = None
    results: list[JsonObject] = Field(default_factory=list)
    count: int = 0
    has_more: bool = False


class _Listed(Answer):
    results: list[dict[str, Any]] = Field(default_factory=list)
    has_more: bool = False
    next_cursor: str | None = None


class _RichText(BaseModel):
    model_config = ConfigDict(extra="ignore")

    plain_text: str = ""


@operation("notion_read", on=NOTION, takes=Reading, gives=Content, again=Again.READS, scopes=("notion:read",))
def read(notion: Call[Reading]) -> Content:
    """Read a page with its text, or the entries of a database."""
    wanted = notion.config
    if wanted.page_id:
        page = notion.get(f"/pages/{wanted.page_id}", Page)
        listed = _list(notion, "GET", f"/blocks/{wanted.page_id}/children")
        text = "\n".join(line for block in listed.results if (line := _text_of(block)) is not None)
        return Content(url=page.url, text=text, properties=page.properties, has_more=listed.has_more)
    listed = _list(notion, "POST", f"/databases/{wanted.database_id}/query")
    entries = [Page.model_validate(entry).told() for entry in listed.results]
    return Content(results=entries, count=len(entries), has_more=listed.has_more)


def _list(notion: Call[Reading], method: str, path: str) -> _Listed:
    """All pages of a list, up to the limit."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        asked: dict[str, JsonValue] = {"page_size": min(PAGE_SIZE, notion.config.limit - len(found))}
        if cursor:
            asked["start_cursor"] = cursor
        if method == "GET":
            page = notion.get(path, _Listed, {name: str(value) for name, value in asked.items()})
        else:
            matching: dict[str, JsonValue] = {"filter": notion.config.filter} if notion.config.filter else {}
            page = notion.post(path, {**asked, **matching}, _Listed)
        found += page.results
        cursor = page.next_cursor
        if not page.has_more or not cursor or len(found) >= notion.config.limit:
            return _Listed(results=found[: notion.config.limit], has_more=page.has_more)


def _text_of(block: dict[str, Any]) -> str | None:
    inner = block.get(str(block.get("type")))
    if not isinstance(inner, dict) or not isinstance(inner.get("rich_text"), list):
        return None
    return "".join(_RichText.model_validate(piece).plain_text for piece in inner["rich_text"])


class Writing(Connected):
    """The settings of `notion_write`: text for a page, or a new page in a database, with text or without."""

    database_id: NotionId | None = None
    page_id: NotionId | None = None
    properties: Fields = Field(default_factory=dict)
    content: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_blanks(cls, given: object) -> object:
        return {k: v for k, v in given.items() if v != ""} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Writing:
        if (self.page_id is None) == (self.database_id is None):
            raise ValueError("either a databaseId or a pageId is needed")
        if self.database_id and not self.properties:
            raise ValueError("a page in a database needs properties")
        return self


class Written(Answer):
    """The page that was made, or written to."""

    id: str
    url: str | None = None


@operation(
    "notion_write", on=NOTION, takes=Writing, gives=Written, again=Again.TWICE, scopes=("notion:write",)
)
def write(notion: Call[Writing]) -> Written:
    """Make a page in a database, or append text to a page."""
    wanted = notion.config
    if wanted.page_id:
        blocks = list(_paragraphs(wanted.content or notion.task.text))
        notion.patch(f"/blocks/{wanted.page_id}/children", {"children": blocks}, _Listed)
        return Written(id=wanted.page_id)
    page: dict[str, JsonValue] = {
        "parent": {"database_id": wanted.database_id},
        "properties": dict(wanted.properties),
    }
    if wanted.content:
        page["children"] = list(_paragraphs(wanted.content))
    return notion.post("/pages", page, Written)


def _paragraphs(text: str) -> Iterator[JsonValue]:
    """A block for each paragraph; what Notion would refuse as too long is cut into more."""
    pieces = (
        paragraph[start : start + LONGEST_TEXT]
        for paragraph in text.split("\n\n")
        for start in range(0, max(len(paragraph), 1), LONGEST_TEXT)
    )
    for _, piece in zip(range(MOST_BLOCKS), pieces, strict=False):
        rich: list[JsonValue] = [{"type": "text", "text": {"content": piece}}]
        yield {"object": "block", "type": "paragraph", "paragraph": {"rich_text": rich}}
