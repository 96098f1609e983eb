"""What the worker subscribes to at Supabase Realtime: where, with which token, and which changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from app.phoenix.channel import Channel, ChannelLostError, Timing
from app.phoenix.frames import BadFrameError, Binding
from app.phoenix.tokens import ServiceKey, Signed, Tokens
from app.settings import Settings

#: The platform doesn't publish its votes, but the tallies that each vote rewrites; and its battles, whose
#: changes of status stand in a table that isn't published either.
BINDINGS = (
    Binding("*", "vote_aggregates", "battles"),
    Binding("UPDATE", "battles", "battles"),
)

#: The channel's topic.
TOPIC = "lf-worker"

#: What ends a connection, and is answered by the next one.
LOSSES = (ChannelLostError, BadFrameError, WebSocketException, OSError, TimeoutError)

#: Life of the tokens that we sign ourselves.
TOKEN_LIFETIME_SECONDS = 3600.0

#: Realtime's own limit on a frame is 5 MB.
MAX_FRAME_BYTES = 8_000_000


@dataclass(frozen=True)
class Endpoint:
    """A project's Realtime service."""

    project_url: str
    api_key: str = field(repr=False)
    tokens: Tokens

    def connect(self, timing: Timing) -> connect:
        """A connection to be opened by `async with`."""
        return connect(
            websocket_url(self.project_url, self.api_key),
            open_timeout=timing.connect,
            ping_interval=None,  # heartbeats ask for more: that the channel's server answers, not a proxy
            close_timeout=1,
            max_size=MAX_FRAME_BYTES,
        )


def find_endpoint(settings: Settings) -> Endpoint | None:
    """Realtime where a project and its key are configured and not ruled out."""
    key = settings.supabase_service_role_key.get_secret_value()
    if settings.realtime_source == "postgres" or not (settings.supabase_url and key):
        return None
    secret = settings.supabase_jwt_secret.get_secret_value()
    tokens: Tokens = Signed(secret, TOKEN_LIFETIME_SECONDS) if secret else ServiceKey(key)
    return Endpoint(settings.supabase_url, key, tokens)


async def subscribe_once(endpoint: Endpoint, timing: Timing) -> None:
    """Connect, join, wait for the subscription and leave; raises one of `LOSSES` when that fails."""
    subscribed = asyncio.Event()
    async with endpoint.connect(timing) as socket:
        listening = asyncio.create_task(_channel(socket, endpoint, timing, subscribed).listen())
        waiting = asyncio.create_task(subscribed.wait())
        try:
            await asyncio.wait({listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not subscribed.is_set():
                await listening
        except* LOSSES as losses:
            raise losses.exceptions[0] from None
        finally:
            listening.cancel()
            waiting.cancel()
            await asyncio.gather(listening, waiting, return_exceptions=True)


def _channel(
    socket: ClientConnection, endpoint: Endpoint, timing: Timing, subscribed: asyncio.Event
) -> Channel:
    return Channel(
        socket,
        f"{TOPIC}-doctor",
        BINDINGS,
        endpoint.tokens,
        timing,
        on_change=lambda _change: None,
        on_subscribed=subscribed.set,
    )


def websocket_url(project_url: str, api_key: str) -> str:
    """The address of a project's Realtime service; the key stands in it, since the gateway reads it there."""
    parts = urlsplit(project_url.rstrip("/"))
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    query = urlencode({"apikey": api_key, "vsn": "1.0.0"})
    return f"{scheme}://{parts.netloc}{parts.path}/realtime/v1/websocket?{query}"
