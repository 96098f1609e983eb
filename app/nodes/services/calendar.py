"""Google Calendar: make events (REST, version 3)."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from app.nodes.pasted import Addresses
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service, segment
from app.nodes.services.identifiers import digest_of
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Text, Title
from app.nodes.settings import spelled

CALENDAR = Service(name="google_calendar", provider="google", root="https://www.googleapis.com/calendar/v3")

_SCOPES = (
    "https://www.googleapis.com/auth/calendar",
    "https://www.googleapis.com/auth/calendar.events",
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _is_time(text: str) -> str:
    try:
        date.fromisoformat(text) if _DAY.fullmatch(text) else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a day (2026-01-31) or a time (2026-01-31T09:00:00+01:00) is needed") from None
    return text


Moment = Annotated[str, AfterValidator(_is_time)]


class NewEvent(Connected):
    """The settings of `calendar_create`; a day alone makes an event of whole days."""

    calendar_id: Annotated[str, Field(min_length=1, max_length=200)] = "primary"
    summary: Title = Field(validation_alias=spelled("summary", "title"))
    start_time: Moment = Field(validation_alias=spelled("startTime", "start"))
    end_time: Moment = Field(validation_alias=spelled("endTime", "end"))
    time_zone: str = Field(default="", max_length=64)
    description: Text = ""
    location: Text = ""
    attendees: Addresses = Field(default_factory=list)


class Event(Answer):
    """An event in a calendar."""

    id: str
    url: str = Field(default="", validation_alias=spelled("htmlLink"))
    status: str = ""
    summary: str = ""


def _made_before(calendar: Call[NewEvent]) -> Event | None:
    path = f"/calendars/{segment(calendar.config.calendar_id)}/events/{digest_of(calendar.key)}"
    return calendar.find(path, Event)


@operation(
    "calendar_create",
    on=CALENDAR,
    takes=NewEvent,
    gives=Event,
    again=Again.TWICE,
    scopes=_SCOPES,
    earlier=_made_before,
)
def create_event(calendar: Call[NewEvent]) -> Event:
    """Make an event, under an id that is this node's own, so that there is never a second one."""
    event = calendar.config
    wanted: dict[str, JsonValue] = {
        "id": digest_of(calendar.key),
        "summary": event.summary,
        "start": _moment(event.start_time, event.time_zone),
        "end": _moment(event.end_time, event.time_zone),
    }
    more: dict[str, JsonValue] = {
        "description": event.description,
        "location": event.location,
        "attendees": [{"email": each} for each in event.attendees],
    }
    body = {**wanted, **{name: value for name, value in more.items() if value}}
    return calendar.post(f"/calendars/{segment(event.calendar_id)}/events", body, Event)


def _moment(text: str, time_zone: str) -> JsonValue:
    if _DAY.fullmatch(text):
        return {"date": text}
    moment: dict[str, JsonValue] = {"dateTime": text}
    return {**moment, "timeZone": time_zone} if time_zone else moment
