"""Notion: one database, one page."""

from __future__ import annotations

from typing import Any

from app.local.services.wire import Answered, Asked

DATABASE = "d9824bdc-8445-4327-be8b-5b47500af6ce"
PAGE = "59833787-2cf9-4fdf-8782-e53db20768a5"


class Notion:
    """`pages` are those of the database, `blocks` those of the page."""

    name = "notion"

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self.blocks: list[dict[str, Any]] = []

    def answer(self, asked: Asked) -> Answered:
        """Read and make pages and blocks, in lists of at most the size that is asked for."""
        if asked.headers.get("notion-version") != "2022-06-28":
            return _failed(400, "missing_version", "Notion-Version header failed validation")
        if asked.path == "/pages":
            return self._make(asked)
        things = {
            f"/pages/{PAGE}": lambda: Answered(200, {"id": PAGE, "url": f"https://notion.so/{PAGE}"}),
            f"/blocks/{PAGE}/children": lambda: self._children(asked),
            f"/databases/{DATABASE}/query": lambda: _list(self.pages, asked.json),
        }
        found = things.get(asked.path)
        return found() if found else _failed(404, "object_not_found", "Could not find what was named")

    def _make(self, asked: Asked) -> Answered:
        if asked.json["parent"].get("database_id") != DATABASE:
            return _failed(404, "object_not_found", "Could not find database")
        number = f"{len(self.pages) + 1:032d}"
        self.pages.append({**asked.json, "id": number, "url": f"https://notion.so/{number}"})
        return Answered(200, self.pages[-1])

    def _children(self, asked: Asked) -> Answered:
        if asked.method == "GET":
            return _list(self.blocks, asked.query)
        self.blocks += [_read(block) for block in asked.json["children"]]
        return Answered(200, {"object": "list", "results": self.blocks, "has_more": False})


def _list(things: list[dict[str, Any]], asked: dict[str, Any]) -> Answered:
    start, size = int(asked.get("start_cursor") or 0), int(asked.get("page_size") or 100)
    more = start + size < len(things)
    body = {"object": "list", "results": things[start : start + size], "has_more": more}
    return Answered(200, {**body, "next_cursor": str(start + size) if more else None})


def _read(block: dict[str, Any]) -> dict[str, Any]:
    """A block as it is read back: with the plain text of what was written."""
    texts = [{**piece, "plain_text": piece["text"]["content"]} for piece in block[block["type"]]["rich_text"]]
    return {**block, block["type"]: {"rich_text": texts}}


def _failed(status: int, code: str, message: str) -> Answered:
    return Answered(status, {"object": "error", "status": status, "code": code, "message": message})
