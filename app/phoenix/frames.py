"""Frames of Supabase Realtime: Phoenix channels, version 1.0.0, one JSON object a text frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

#: The topic of heartbeats, which is no channel.
PHOENIX = "phoenix"


class BadFrameError(Exception):
    """The server sent something that is no frame; the message never quotes it."""


class Frame(BaseModel):
    """A frame from the server. `ref` is that of the frame which it answers, if any."""

    topic: str
    event: str
    payload: dict[str, Any]
    ref: str | None = None

    @property
    def status(self) -> str:
        """`ok` or `error` in a reply or a message of the system, else nothing."""
        return str(self.payload.get("status", ""))

    @property
    def extension(self) -> str:
        """The part of the server that a message of the system comes from."""
        return str(self.payload.get("extension", ""))

    @property
    def reason(self) -> str:
        """What an error says about itself, shortened."""
        response = self.payload.get("response")
        said = response.get("reason") if isinstance(response, dict) else self.payload.get("message")
        return str(said or self.event)[:200]


class Change(BaseModel):
    """What changed in a table; `record` is the new row, or empty for a deletion."""

    table: str
    type: str
    record: dict[str, Any] = {}
    errors: list[str] | None = None


class _Payload(BaseModel):
    data: Change


@dataclass(frozen=True)
class Binding:
    """A kind of change that a channel asks for: INSERT, UPDATE, DELETE or * in one table."""

    event: str
    table: str
    schema: str

    def as_json(self) -> dict[str, str]:
        """The binding as a join names it."""
        return {"event": self.event, "schema": self.schema, "table": self.table}


def parse_frame(text: str | bytes) -> Frame:
    """Read a frame; raises BadFrameError."""
    try:
        return Frame.model_validate_json(text)
    except ValidationError:
        raise BadFrameError("the server sent something that is no frame") from None


def parse_change(frame: Frame) -> Change:
    """Read a `postgres_changes` frame's change; raises BadFrameError."""
    try:
        return _Payload.model_validate(frame.payload).data
    except ValidationError:
        raise BadFrameError("the server sent a change that can't be read") from None


def join(topic: str, ref: str, bindings: Sequence[Binding], token: str) -> str:
    """Ask for a channel with these changes."""
    config = {
        "broadcast": {"ack": False, "self": False},
        "presence": {"key": "", "enabled": False},
        "private": False,
        "postgres_changes": [binding.as_json() for binding in bindings],
    }
    return _frame("phx_join", topic, {"config": config, "access_token": token}, ref, ref)


def renew_token(topic: str, ref: str, join_ref: str, token: str) -> str:
    """Give the channel a newer token; there is no answer."""
    return _frame("access_token", topic, {"access_token": token}, ref, join_ref)


def heartbeat(ref: str) -> str:
    """Ask for a sign of life."""
    return _frame("heartbeat", PHOENIX, {}, ref, None)


def _frame(event: str, topic: str, payload: Mapping[str, Any], ref: str, join_ref: str | None) -> str:
    return json.dumps({"event": event, "payload": payload, "topic": topic, "ref": ref, "join_ref": join_ref})
