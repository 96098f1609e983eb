"""One channel on one connection, from the join to whatever ends it.

Anything unusual ends the connection; whoever called makes a new one. That is simpler than mending a channel
in place, where clients go deaf without noticing: after a callback failed, after an error of the system,
after a close that meant an older join, or when a rejoin is answered by nobody.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from websockets.asyncio.client import ClientConnection

from app.phoenix import frames
from app.phoenix.frames import Binding, Change, Frame
from app.phoenix.tokens import Token, Tokens

log = structlog.get_logger(__name__)


_NEXT_CHANGE = "a change"


class ChannelLostError(Exception):
    """The channel can't be heard any more; the message says why."""


@dataclass(frozen=True)
class Timing:
    """The channel's patience, in seconds.

    `join`: from the join to its answer. `subscribe`: from there to "Subscribed to PostgreSQL", which takes
    up to 8 s and after an error of the server's up to 10 more. `heartbeat`: between two; the server hangs up
    after some 50 s of silence. `deaf`: without any frame, although heartbeats are answered. `quiet`: without
    a change, which may mean that the server has forgotten the channel while it still answers heartbeats.
    `lasting`: from the subscription on, until a loss counts as the first one again.
    """

    connect: float = 10.0
    join: float = 10.0
    subscribe: float = 30.0
    heartbeat: float = 20.0
    deaf: float = 45.0
    quiet: float = 900.0
    #: Share of a token's remaining life after which it is renewed, and the longest time between renewals.
    renew_share: float = 0.8
    renew_at_least_every: float = 1800.0
    min_pause: float = 0.25
    max_pause: float = 30.0
    lasting: float = 30.0


class Channel:
    """Joins, and then listens until the channel is lost.

    `on_change` gets every change, and `on_subscribed` is called each time changes begin to arrive: only what
    is committed after that is heard.
    """

    def __init__(
        self,
        socket: ClientConnection,
        topic: str,
        bindings: Sequence[Binding],
        tokens: Tokens,
        timing: Timing,
        *,
        on_change: Callable[[Change], None],
        on_subscribed: Callable[[], None],
    ) -> None:
        self._socket = socket
        self._topic = f"realtime:{topic}"
        self._bindings = bindings
        self._tokens = tokens
        self._timing = timing
        self._on_change = on_change
        self._on_subscribed = on_subscribed
        self._refs = (str(number) for number in itertools.count(1))
        self._join_ref = ""
        #: Until when the next step, such as hearing a change, has to have been made.
        self._step_due = 0.0
        self._step = ""

    async def listen(self) -> None:
        """Join and listen; always ends in an error, ChannelLostError or one of the connection's."""
        token = self._tokens.fresh()
        self._join_ref = next(self._refs)
        self._await_step("the join's answer", self._timing.join)
        await self._socket.send(frames.join(self._topic, self._join_ref, self._bindings, token.value))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._renew_tokens(token))
            tasks.create_task(self._read())

    async def _read(self) -> None:
        while True:
            until_step = self._step_due - time.monotonic()
            try:
                async with asyncio.timeout(max(min(until_step, self._timing.deaf), 0.0)):
                    text = await self._socket.recv()
            except TimeoutError:
                missed = self._step if until_step < self._timing.deaf else "any sign of life"
                raise ChannelLostError(f"waited too long for {missed}") from None
            self._take(frames.parse_frame(text))

    def _take(self, frame: Frame) -> None:
        if frame.topic != self._topic:
            return  # answers to heartbeats: that they came is all they say
        match frame.event:
            case "phx_reply" if frame.ref == self._join_ref:
                self._take_join_reply(frame)
            case "system":
                self._take_system(frame)
            case "postgres_changes":
                self._await_step(_NEXT_CHANGE, self._timing.quiet)
                self._on_change(frames.parse_change(frame))
            case "phx_error" | "phx_close":
                raise ChannelLostError(f"the server closed the channel: {frame.reason}")
            case _:
                log.debug("frame of no interest", event_name=frame.event)

    def _take_join_reply(self, frame: Frame) -> None:
        if frame.status != "ok":
            raise ChannelLostError(f"the join was refused: {frame.reason}")
        response = frame.payload.get("response")
        bound = response.get("postgres_changes") if isinstance(response, dict) else None
        if not isinstance(bound, list) or len(bound) != len(self._bindings):
            raise ChannelLostError("the server bound other changes than were asked for")
        self._await_step("the subscription", self._timing.subscribe)

    def _take_system(self, frame: Frame) -> None:
        if frame.extension != "postgres_changes":
            if frame.status == "error":
                raise ChannelLostError(f"the server gave the channel up: {frame.reason}")
            return
        if frame.status == "ok":
            self._await_step(_NEXT_CHANGE, self._timing.quiet)
            self._on_subscribed()
        elif self._step == _NEXT_CHANGE:
            # The server tries again by itself, and says so when it works; it gets the time of a first try.
            log.warning("changes are interrupted", reason=frame.reason)
            self._await_step("the subscription after an error", self._timing.subscribe)

    def _await_step(self, step: str, within_seconds: float) -> None:
        self._step = step
        self._step_due = time.monotonic() + within_seconds

    async def _beat(self) -> None:
        while True:
            await self._socket.send(frames.heartbeat(next(self._refs)))
            await asyncio.sleep(self._timing.heartbeat)

    async def _renew_tokens(self, token: Token) -> None:
        while True:
            await asyncio.sleep(self._until_renewal(token))
            token = self._tokens.fresh()
            await self._socket.send(
                frames.renew_token(self._topic, next(self._refs), self._join_ref, token.value)
            )

    def _until_renewal(self, token: Token) -> float:
        longest = self._timing.renew_at_least_every
        if token.expires_at is None:
            return longest
        # Never at once again: a token that is all there is may have expired for good.
        return min(longest, max((token.expires_at - time.time()) * self._timing.renew_share, 0.1))
