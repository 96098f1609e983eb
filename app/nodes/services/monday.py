"""monday.com: make, change and list items of boards (GraphQL, version 2024-10)."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Fields, Id, OptionalId, Title
from app.nodes.settings import spelled
from app.workflow import NodeFailure
from app.workflow.values import JsonObject

MONDAY = Service(
    name="monday",
    provider="monday",
    root="https://api.monday.com/v2",
    headers={"API-Version": "2024-10"},
    scheme="",
)

#: Most items that one node lists.
MOST_ITEMS = 500
PAGE_SIZE = 100

_READS, _WRITES = ("monday:boards:read",), ("monday:boards:write",)

_CREATE = """
mutation ($board: ID!, $group: String, $name: String!, $values: JSON) {
  create_item (board_id: $board, group_id: $group, item_name: $name, column_values: $values) { id name url }
}
"""
_CHANGE = """
mutation ($board: ID!, $item: ID!, $values: JSON!) {
  change_multiple_column_values (board_id: $board, item_id: $item, column_values: $values) { id name url }
}
"""
_LIST = """
query ($board: [ID!], $limit: Int!, $cursor: String) {
  boards (ids: $board) {
    items_page (limit: $limit, cursor: $cursor) {
      cursor items { id name url column_values { id text } }
    }
  }
}
"""


_BoardId = Annotated[Id, named_in_url(r"/boards/(\d+)")]
_ItemId = Annotated[Id, named_in_url(r"/pulses/(\d+)")]


class Item(Answer):
    """An item of a board; `columns` are its values as text, by column."""

    id: str
    name: str = ""
    url: str | None = None
    columns: dict[str, str | None] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _by_column(cls, given: object) -> object:
        if not isinstance(given, dict) or not isinstance(given.get("column_values"), list):
            return given
        cells = [cell for cell in given["column_values"] if isinstance(cell, dict)]
        return {**given, "columns": {str(cell.get("id")): cell.get("text") for cell in cells}}


class NewItem(Connected):
    """The settings of `monday_item_create`."""

    board_id: _BoardId
    item_name: Title = Field(validation_alias=spelled("itemName", "name", "title"))
    group_id: OptionalId = None
    column_values: Fields = Field(default_factory=dict)


class _Created(Answer):
    item: Item = Field(validation_alias=spelled("create_item"))


@operation("monday_item_create", on=MONDAY, takes=NewItem, gives=Item, again=Again.TWICE, scopes=_WRITES)
def create_item(monday: Call[NewItem]) -> Item:
    """Make an item on a board."""
    item = monday.config
    variables: JsonValue = {
        "board": item.board_id,
        "group": item.group_id,
        "name": item.item_name,
        "values": json.dumps(item.column_values),
    }
    return monday.graphql(_CREATE, variables, _Created).item


class ItemChange(Connected):
    """The settings of `monday_item_update`."""

    board_id: _BoardId
    item_id: _ItemId
    column_values: Fields

    @model_validator(mode="after")
    def _changes_something(self) -> ItemChange:
        if not self.column_values:
            raise ValueError("nothing is to be changed")
        return self


class _Changed(Answer):
    item: Item = Field(validation_alias=spelled("change_multiple_column_values"))


@operation("monday_item_update", on=MONDAY, takes=ItemChange, gives=Item, again=Again.SAME, scopes=_WRITES)
def update_item(monday: Call[ItemChange]) -> Item:
    """Change the columns of an item."""
    item = monday.config
    variables: JsonValue = {
        "board": item.board_id,
        "item": item.item_id,
        "values": json.dumps(item.column_values),
    }
    return monday.graphql(_CHANGE, variables, _Changed).item


class Listing(Connected):
    """The settings of `monday_board_items_list`."""

    board_id: _BoardId
    limit: int = Field(default=100, ge=1, le=MOST_ITEMS, validation_alias=spelled("limit", "maxItems"))


class Items(Answer):
    """Items of a board."""

    items: list[JsonObject] = Field(default_factory=list)
    count: int = 0
    has_more: bool = False


class _Page(Answer):
    cursor: str | None = None
    items: list[Item]


class _Board(Answer):
    items_page: _Page


class _Boards(Answer):
    boards: list[_Board]


@operation("monday_board_items_list", on=MONDAY, takes=Listing, gives=Items, again=Again.READS, scopes=_READS)
def list_items(monday: Call[Listing]) -> Items:
    """List the items of a board."""
    found: list[Item] = []
    cursor: str | None = None
    while True:
        variables: JsonValue = {
            "board": [monday.config.board_id],
            "limit": min(PAGE_SIZE, monday.config.limit - len(found)),
            "cursor": cursor,
        }
        boards = monday.graphql(_LIST, variables, _Boards).boards
        if not boards:
            raise NodeFailure("monday.not_found: the connection sees no such board")
        found += boards[0].items_page.items
        cursor = boards[0].items_page.cursor
        if not cursor or len(found) >= monday.config.limit:
            break
    items = [item.told() for item in found[: monday.config.limit]]
    return Items(items=items, count=len(items), has_more=cursor is not None)
