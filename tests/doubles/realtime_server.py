"""A stand-in for Supabase Realtime that speaks its frames (Phoenix 1.0.0) and can fail in all its ways.

Like the real one it keeps nothing: a change goes to the channels that are subscribed at that moment. The
subscription comes some time after the join's answer, and changes in between are lost.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

T = TypeVar("T")


@dataclass
class Joined:
    """A channel that a client has joined."""

    socket: ServerConnection
    topic: str
    join_ref: str
    bindings: list[dict[str, Any]]
    expires_at: float
    subscribed: bool = False


@dataclass
class Behaviour:
    """How the server treats clients from now on."""

    subscribe_seconds: float = 0.02
    refuse_joins: bool = False
    never_subscribe: bool = False
    #: Shuts each channel as soon as it is subscribed, as a server does that has no room for it.
    shuts_subscribed: bool = False
    #: Reads and answers nothing, though the connection stands: what a client sees of a host that is gone.
    is_deaf: bool = False


@dataclass
class Seen:
    """What clients did."""

    joins: int = 0
    subscriptions: int = 0
    renewals: int = 0


class RealtimeServer:
    """Runs in a thread; its methods may be called from any other."""

    def __init__(self, key: str = "service-key") -> None:
        self.key = key
        self.behaviour = Behaviour()
        self.seen = Seen()
        self._channels: list[Joined] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(10_000)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Server | None = None
        self.port = 0

    def __enter__(self) -> RealtimeServer:
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_error: object) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def url(self) -> str:
        """The project's root."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def subscribed(self) -> int:
        """Channels that get changes now."""
        return sum(channel.subscribed for channel in self._channels)

    # What happens to the database

    def publish(self, schema: str, table: str, type_: str, record: dict[str, Any]) -> None:
        """Send a change to every channel that is subscribed to it."""
        self._run(self._publish(schema, table, type_, record))

    # What happens to clients

    def close(self, code: int) -> None:
        """Close every connection with a code, as a deploy does."""
        self._each(lambda channel: channel.socket.close(code))

    def reset(self) -> None:
        """Break every TCP connection off."""
        self._each(self._reset)

    def go_deaf(self) -> None:
        """Stop to read and to answer, on connections that stay open."""
        self.behaviour.is_deaf = True
        self._channels.clear()

    def forget_channels(self) -> None:
        """Tell no channel of anything any more, while heartbeats are still answered."""
        self._channels.clear()

    def expire_tokens(self) -> None:
        """Shut every channel because its token is too old."""
        self._each(lambda channel: self._shut(channel, "Token has expired 1 seconds ago"))

    def fail_channels(self) -> None:
        """Send every channel a phx_error."""
        self._each(lambda channel: self._push(channel, "phx_error", {}))

    def close_channels(self) -> None:
        """Send every channel a bare phx_close."""
        self._each(lambda channel: self._push(channel, "phx_close", {}))

    def fail_replication(self) -> None:
        """Say that changes can't be read, and never come back to it."""
        for channel in self._channels:
            channel.subscribed = False
        self._each(
            lambda channel: self._push(
                channel,
                "system",
                {
                    "extension": "postgres_changes",
                    "status": "error",
                    "message": "Subscribing to PostgreSQL failed",
                    "channel": channel.topic.removeprefix("realtime:"),
                },
            )
        )

    def send_garbage(self) -> None:
        """Send every connection something that is no frame."""
        self._each(lambda channel: channel.socket.send('{"event": 1'))

    def go_away(self) -> None:
        """Stop to listen; connections break."""
        self._run(self._stop())

    def come_back(self) -> None:
        """Listen again on the same port."""
        self._run(self._start())

    # The server itself

    async def _start(self) -> None:
        self._server = await serve(
            self._converse,
            "127.0.0.1",
            self.port,
            process_request=self._check_key,
            ping_interval=None,
            close_timeout=0.1,
            reuse_address=True,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            for connection in list(self._server.connections):
                connection.transport.abort()
            self._server.close(close_connections=False)
            await self._server.wait_closed()
        self._server = None
        self._channels.clear()

    def _check_key(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if parts.path != "/realtime/v1/websocket" or query.get("vsn") != ["1.0.0"]:
            return connection.respond(404, "not found")
        if query.get("apikey") != [self.key]:
            return connection.respond(401, '{"error":"API key is missing"}')
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        try:
            async for text in connection:
                while self.behaviour.is_deaf:
                    await asyncio.sleep(0.01)
                await self._answer(connection, json.loads(text))
        except ConnectionClosed:
            pass  # the client went, or we broke the connection off
        finally:
            self._channels = [channel for channel in self._channels if channel.socket is not connection]

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        match frame["event"]:
            case "heartbeat":
                await self._send(connection, "phoenix", "phx_reply", _ok({}), frame["ref"])
            case "phx_join":
                await self._join(connection, frame)
            case "access_token":
                self.seen.renewals += 1
                for channel in self._channels:
                    if channel.socket is connection and channel.topic == frame["topic"]:
                        channel.expires_at = _expiry(frame["payload"]["access_token"])

    async def _join(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        self.seen.joins += 1
        topic, payload = frame["topic"], frame["payload"]
        for old in [old for old in self._channels if old.socket is connection and old.topic == topic]:
            self._channels.remove(old)
            await self._send(connection, topic, "phx_close", {}, old.join_ref)
        if self.behaviour.refuse_joins:
            refusal = {"status": "error", "response": {"reason": "InitializingProjectConnection"}}
            await self._send(connection, topic, "phx_reply", refusal, frame["ref"])
            return
        bindings = [{**binding, "id": next(self._ids)} for binding in payload["config"]["postgres_changes"]]
        channel = Joined(connection, topic, frame["join_ref"], bindings, _expiry(payload["access_token"]))
        self._channels.append(channel)
        await self._send(connection, topic, "phx_reply", _ok({"postgres_changes": bindings}), frame["ref"])
        self._background(self._subscribe(channel))
        self._background(self._expire(channel))

    async def _subscribe(self, channel: Joined) -> None:
        await asyncio.sleep(self.behaviour.subscribe_seconds)
        if self.behaviour.never_subscribe or self.behaviour.is_deaf or channel not in self._channels:
            return
        channel.subscribed = True
        self.seen.subscriptions += 1
        await self._push(
            channel,
            "system",
            {
                "extension": "postgres_changes",
                "status": "ok",
                "message": "Subscribed to PostgreSQL",
                "channel": channel.topic.removeprefix("realtime:"),
            },
        )
        if self.behaviour.shuts_subscribed:
            await self._shut(channel, "Too many messages per second")

    async def _expire(self, channel: Joined) -> None:
        while channel in self._channels:
            if time.time() >= channel.expires_at:
                await self._shut(channel, "Token has expired 0 seconds ago")
                return
            await asyncio.sleep(0.02)

    async def _publish(self, schema: str, table: str, type_: str, record: dict[str, Any]) -> None:
        for channel in list(self._channels):
            ids = [
                binding["id"]
                for binding in channel.bindings
                if (binding["schema"], binding["table"]) == (schema, table)
                and binding["event"] in {"*", type_}
            ]
            if not channel.subscribed or not ids or self.behaviour.is_deaf:
                continue
            data = {
                "schema": schema,
                "table": table,
                "commit_timestamp": "2026-11-23T13:07:47.061Z",
                "type": type_,
                "errors": None,
                "columns": [{"name": name, "type": "text"} for name in record],
                "record": record,
            }
            await self._push(channel, "postgres_changes", {"ids": ids, "data": data})

    async def _shut(self, channel: Joined, message: str) -> None:
        topic = channel.topic.removeprefix("realtime:")
        said = {"extension": "system", "status": "error", "message": message, "channel": topic}
        if channel in self._channels:
            self._channels.remove(channel)
        await self._push(channel, "system", said)
        await self._push(channel, "phx_close", {})

    async def _reset(self, channel: Joined) -> None:
        raw: socket.socket = channel.socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        channel.socket.transport.abort()

    async def _push(self, channel: Joined, event: str, payload: dict[str, Any]) -> None:
        await self._send(channel.socket, channel.topic, event, payload, None)

    async def _send(
        self, connection: ServerConnection, topic: str, event: str, payload: dict[str, Any], ref: str | None
    ) -> None:
        try:
            await connection.send(
                json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref})
            )
        except ConnectionClosed:
            return  # the client has gone meanwhile

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _each(self, act: Callable[[Joined], Coroutine[Any, Any, None]]) -> None:
        async def all_of_them() -> None:
            for channel in list(self._channels):
                await act(channel)

        self._run(all_of_them())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


def _ok(response: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "response": response}


def _expiry(token: str) -> float:
    """When a JWT expires; a key of the new kind, which is none, never does."""
    parts = token.split(".")
    if len(parts) != 3:
        return float("inf")
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    assert claims["role"] == "service_role"
    return float(claims["exp"])
