"""Frames and tokens of Supabase Realtime, read and written."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.phoenix import frames
from app.phoenix.subscription import BINDINGS, websocket_url
from app.phoenix.tokens import ServiceKey, Signed
from realtime.hints import Hints
from realtime.supabase_feed import pass_on

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | st.text() | JSON.map(json.dumps))
def test_hostile_frames_are_read_or_refused(text: str | bytes) -> None:
    with suppress(frames.BadFrameError):
        assert isinstance(frames.parse_frame(text).payload, dict)


def test_a_refused_frame_is_not_quoted() -> None:
    with pytest.raises(frames.BadFrameError) as refused:
        frames.parse_frame('{"access_token": "planted"}')
    assert "planted" not in str(refused.value)


@given(JSON)
def test_hostile_changes_are_read_or_refused(payload: Any) -> None:
    frame = frames.Frame(topic="t", event="postgres_changes", payload={"data": payload})
    with pytest.raises(frames.BadFrameError):
        frames.parse_change(frame)


def test_a_join_names_each_binding_and_the_token() -> None:
    asked = json.loads(frames.join("realtime:x", "1", BINDINGS, "token"))
    assert asked["payload"]["access_token"] == "token"
    assert asked["payload"]["config"]["postgres_changes"] == [
        {"event": "*", "schema": "battles", "table": "vote_aggregates"},
        {"event": "UPDATE", "schema": "battles", "table": "battles"},
    ]
    assert (asked["event"], asked["ref"], asked["join_ref"]) == ("phx_join", "1", "1")


async def heard_of(*changes: frames.Change) -> Any:
    hints = Hints()
    for change in changes:
        pass_on(change, hints)
    return await hints.take(0)


def change(table: str, record: dict[str, Any]) -> frames.Change:
    return frames.Change(table=table, type="UPDATE", record=record)


@pytest.mark.parametrize("record", [{}, {"battle_id": None}, {"battle_id": "cut"}, {"battle_id": ["x"]}])
def test_a_change_that_names_no_battle_means_everywhere(record: dict[str, Any]) -> None:
    assert asyncio.run(heard_of(change("vote_aggregates", record))).everything


def test_changes_of_one_battle_are_one_hint() -> None:
    battle = uuid4()
    told = change("vote_aggregates", {"battle_id": str(battle)})
    heard = asyncio.run(heard_of(told, told, change("battles", {"id": str(battle)})))
    assert (heard.battles, heard.events, heard.everything) == ({battle}, True, False)


def test_a_signed_token_is_a_jwt_of_the_service_role_that_expires() -> None:
    token = Signed("secret", lifetime_seconds=60).fresh()
    head, body, signature = token.value.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert claims["role"] == "service_role"
    assert 58 <= claims["exp"] - time.time() <= 60
    assert token.expires_at == claims["exp"]
    expected = hmac.digest(b"secret", f"{head}.{body}".encode(), hashlib.sha256)
    assert base64.urlsafe_b64decode(signature + "=") == expected


@given(st.text())
def test_any_service_key_is_a_token(key: str) -> None:
    assert ServiceKey(key).fresh().value == key
    assert key not in repr(ServiceKey(key)) or key in "ServiceKey()"


@pytest.mark.parametrize(
    ("project", "socket"),
    [
        ("https://ref.supabase.co", "wss://ref.supabase.co/realtime/v1/websocket?apikey=a%2Bb&vsn=1.0.0"),
        ("http://localhost:54321/", "ws://localhost:54321/realtime/v1/websocket?apikey=a%2Bb&vsn=1.0.0"),
    ],
)
def test_the_socket_belongs_to_the_project(project: str, socket: str) -> None:
    assert websocket_url(project, "a+b") == socket
