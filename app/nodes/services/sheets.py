"""Google Sheets: read a range, append rows to it, or overwrite it (REST, version 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints

from app.nodes.effects import Unsent
from app.nodes.pasted import named_in_url
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service, segment
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected
from app.nodes.settings import spelled
from app.nodes.storage.contents import part_of
from app.texts.json_text import parse_json
from app.workflow.values import stringify

SHEETS = Service(name="google_sheets", provider="google", root="https://sheets.googleapis.com/v4")

#: Most rows that one node writes.
MOST_ROWS = 5_000

_SCOPES = ("https://www.googleapis.com/auth/spreadsheets",)

SpreadsheetId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{20,60}$"),
    named_in_url(r"/spreadsheets/(?:u/\d+/)?d/([A-Za-z0-9_-]+)"),
]
Range = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Reading(Connected):
    """The settings of `google_sheets_read`."""

    spreadsheet_id: SpreadsheetId
    range: Range


class Values(Answer):
    """The values of a range, row by row; rows end at their last filled cell."""

    range: str = ""
    values: list[list[JsonValue]] = Field(default_factory=list)


@operation("google_sheets_read", on=SHEETS, takes=Reading, gives=Values, again=Again.READS, scopes=_SCOPES)
def read(sheets: Call[Reading]) -> Values:
    """Read a range of a spreadsheet."""
    return sheets.get(_values(sheets.config.spreadsheet_id, sheets.config.range), Values)


def _read_rows(value: object) -> object:
    return parse_json(value) if isinstance(value, str) else value


class Writing(Connected):
    """The settings of `google_sheets_write`; without `values` the rows are the upstream's, or a part of it.

    `input` as USER_ENTERED lets texts become formulas and dates, which is for values of one's own only.
    """

    spreadsheet_id: SpreadsheetId
    range: Range
    mode: Literal["append", "overwrite"] = Field(
        default="append", validation_alias=spelled("mode", "operation")
    )
    values: Annotated[JsonValue, BeforeValidator(_read_rows)] = Field(
        default=None, validation_alias=spelled("values", "rows")
    )
    rows_path: str = ""
    input: Literal["RAW", "USER_ENTERED"] = Field(
        default="RAW", validation_alias=spelled("valueInputOption", "input")
    )


class Written(Answer):
    """What was written where."""

    updated_range: str = Field(default="", validation_alias=spelled("updatedRange"))
    updated_rows: int = Field(default=0, validation_alias=spelled("updatedRows"))
    updated_cells: int = Field(default=0, validation_alias=spelled("updatedCells"))


class _Appended(Answer):
    updates: Written


def _appended_before(sheets: Call[Writing]) -> Written | None:
    """What an earlier try wrote: an overwritten range is simply written again, rows stand at the end."""
    if sheets.config.mode == "overwrite":
        return None
    wanted = [[stringify(cell) for cell in row] for row in _rows(sheets)]
    found = sheets.get(_values(sheets.config.spreadsheet_id, sheets.config.range), Values)
    last = [[stringify(cell) for cell in row] for row in found.values[-len(wanted) :]]
    if last != wanted:
        return None
    return Written(updated_rows=len(wanted), updated_cells=sum(map(len, wanted)))


@operation(
    "google_sheets_write",
    on=SHEETS,
    takes=Writing,
    gives=Written,
    again=Again.TWICE,
    scopes=_SCOPES,
    earlier=_appended_before,
)
def write(sheets: Call[Writing]) -> Written:
    """Append rows to a range of a spreadsheet, or overwrite it."""
    wanted = sheets.config
    path, rows = _values(wanted.spreadsheet_id, wanted.range), _rows(sheets)
    query = {"valueInputOption": wanted.input}
    if wanted.mode == "overwrite":
        return sheets.put(path, {"values": list(rows)}, Written, query)
    return sheets.post(
        f"{path}:append", {"values": list(rows)}, _Appended, {**query, "insertDataOption": "INSERT_ROWS"}
    ).updates


def _values(spreadsheet_id: str, cells: str) -> str:
    return f"/spreadsheets/{spreadsheet_id}/values/{segment(cells)}"


def _rows(sheets: Call[Writing]) -> list[list[JsonValue]]:
    """The rows to write: of objects their values, of single values a row each; raises `Unsent`."""
    given = sheets.config.values
    if given is None:
        given = part_of(sheets.task, sheets.config.rows_path)
    if isinstance(given, dict):
        lists = (given[key] for key in ("rows", "values", "items") if isinstance(given.get(key), list))
        whole: JsonValue = dict(given)
        given = next(lists, [whole])
    rows: list[JsonValue] = given if isinstance(given, list) else [given]
    if rows and not any(isinstance(row, list | dict) for row in rows):
        rows = [list(rows)]
    if not rows or len(rows) > MOST_ROWS:
        raise Unsent(f"invalid_rows: from 1 to {MOST_ROWS} rows can be written, not {len(rows)}")
    return [[_cell(cell) for cell in _cells(row)] for row in rows]


def _cells(row: JsonValue) -> Sequence[JsonValue]:
    if isinstance(row, dict):
        return list(row.values())
    return row if isinstance(row, list) else [row]


def _cell(value: JsonValue) -> JsonValue:
    return stringify(value) if isinstance(value, list | dict) or value is None else value
