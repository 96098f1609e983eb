"""Google Sheets and Google Calendar: one sheet and one calendar."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from app.local.services.wire import Answered, Asked

SPREADSHEET = "1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


def _failed(status: int, message: str, reason: str) -> Answered:
    return Answered(status, {"error": {"code": status, "message": message, "status": reason}})


class Sheets:
    """One sheet; `rows` are its rows."""

    name = "google_sheets"

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Read, append and overwrite values."""
        root = f"/spreadsheets/{SPREADSHEET}/values/"
        if not asked.path.startswith(root):
            return _failed(404, "Requested entity was not found.", "NOT_FOUND")
        cells = unquote(asked.path.removeprefix(root))
        if asked.method == "GET":
            return Answered(200, {"range": cells, "majorDimension": "ROWS", "values": self.rows})
        if "valueInputOption" not in asked.query:
            return _failed(400, "'valueInputOption' is required", "INVALID_ARGUMENT")
        written = asked.json["values"]
        counts = {"updatedRows": len(written), "updatedCells": sum(map(len, written))}
        if asked.method == "PUT":
            self.rows = written
            return Answered(200, {"updatedRange": cells, **counts})
        self.rows += written
        return Answered(200, {"updates": {"updatedRange": cells.removesuffix(":append"), **counts}})


class Calendar:
    """The primary calendar; `events` by their ids."""

    name = "google_calendar"

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> Answered:
        """Make events, and give those that there are."""
        root = "/calendars/primary/events"
        if not asked.path.startswith(root):
            return _failed(404, "Not Found", "NOT_FOUND")
        if asked.method == "GET":
            found = self.events.get(asked.path.removeprefix(f"{root}/"))
            return Answered(200, found) if found else _failed(404, "Not Found", "NOT_FOUND")
        event = asked.json
        if event["id"] in self.events:
            return _failed(409, "The requested identifier already exists.", "ALREADY_EXISTS")
        link = f"https://www.google.com/calendar/event?eid={event['id']}"
        self.events[event["id"]] = {**event, "htmlLink": link, "status": "confirmed"}
        return Answered(200, self.events[event["id"]])
