"""News feeds."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Annotated, Any

from feedparser.api import parse
from pydantic import Field, JsonValue

from app.nodes.pasted import Url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, capped, spelled
from app.nodes.task import Task
from app.nodes.web.outbound import complaint_about, fetch_document
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

MOST_ITEMS = 50
#: Longest text of one field of an item.
LONGEST_FIELD = 20_000


class Feed(NodeSettings):
    """The settings of a feed."""

    feed_url: Url = Field(min_length=1, validation_alias=spelled("feedUrl", "url"))
    max_items: Annotated[int, capped(1, MOST_ITEMS)] = Field(
        default=10, ge=1, le=MOST_ITEMS, validation_alias=spelled("maxItems", "limit")
    )


@node_type(
    "rss_feed",
    config=Feed,
    gives=("title", "items", "count"),
    effect=Effect.READS,
    check=lambda feed: complaint_about(feed.feed_url),
)
def read_feed(task: Task[Feed]) -> Output:
    """Fetch an RSS or Atom feed and give its newest items."""
    response = fetch_document(task, task.config.feed_url, "feed")
    # Given bytes, the parser neither fetches anything nor expands entities of the document's own.
    found = parse(response.body, response_headers={"content-type": response.headers.get("content-type", "")})
    if not found.get("version"):
        raise NodeFailure("feed.unreadable: the answer is neither RSS nor Atom")
    items: list[JsonValue] = [_item_of(entry) for entry in found.entries[: task.config.max_items]]
    data: JsonObject = {"title": _text(found.feed, "title"), "items": items, "count": len(items)}
    lines = [f"{item['title']} {item['link']}".strip() for item in items if isinstance(item, dict)]
    return Output(text="\n".join(lines), artifact_kind="json", data=data)


def _item_of(entry: Any) -> JsonObject:
    return {
        "id": _text(entry, "id") or _text(entry, "link"),
        "title": _text(entry, "title"),
        "link": _text(entry, "link"),
        "summary": _text(entry, "summary"),
        "author": _text(entry, "author"),
        "publishedAt": _time(entry.get("published_parsed") or _updated(entry)),
    }


def _updated(entry: Any) -> Any:
    """Asked for only where it is there: the parser would give the other date, and warn of it."""
    return entry.get("updated_parsed") if "updated_parsed" in entry else None


def _text(found: Any, key: str) -> str:
    value = found.get(key)
    return value[:LONGEST_FIELD] if isinstance(value, str) else ""


def _time(parsed: Any) -> str | None:
    """A moment that the parser has read, in UTC; dates outside of the calendar are none."""
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC).isoformat() if parsed else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None
