"""The one HTTP client that every provider of this process shares: connections, TLS context, deadline.

It carries no key, follows no redirect (a key must not travel to another host) and reads neither proxies
nor `.netrc` from the environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import cache

import httpcore2
import httpx2

from app.http.deadline import DeadlineBackend, max_response_bytes

#: Media come in JSON too; past this the other side is broken or hostile.
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
#: A text answer is a few kilobytes.
MAX_TEXT_RESPONSE_BYTES = 4 * 1024 * 1024

_KEPT_CONNECTIONS = 64
_KEPT_SECONDS = 30.0
_lock = threading.Lock()

#: How the names of headers begin that tell of limits, at OpenAI and its like and at Anthropic.
_LIMIT_HEADERS = ("x-ratelimit-", "anthropic-ratelimit-")


class _Seen(threading.local):
    headers: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed


_seen = _Seen()


def http_client() -> httpx2.Client:
    """The shared client; safe to use from every thread."""
    with _lock:
        return _open_client()


def limit_headers() -> dict[str, str]:
    """The headers of this thread's last answer that speak of limits."""
    return _seen.headers


@cache
def _open_client() -> httpx2.Client:
    return httpx2.Client(transport=DeadlineTransport(), trust_env=False, follow_redirects=False)


# A forked child that went on with its parent's sockets would read its parent's answers.
os.register_at_fork(after_in_child=_open_client.cache_clear)


class DeadlineTransport(httpx2.HTTPTransport):
    """An HTTP transport that keeps the calling thread's total deadline and bounds what it reads."""

    def __init__(self) -> None:
        context = httpx2.create_ssl_context()
        super().__init__(verify=context, trust_env=False)
        # httpx2 has no parameter for the network backend; tests pin that this one is in use.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=_KEPT_CONNECTIONS,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=DeadlineBackend(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; the body is read through the size limit."""
        _seen.headers = {}
        response = super().handle_request(request)
        _seen.headers = {
            name: value for name, value in response.headers.items() if name.startswith(_LIMIT_HEADERS)
        }
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _BoundedStream(response.stream)
        return response


class _BoundedStream(httpx2.SyncByteStream):
    """A response body that ends in an error once it is longer than an answer can be."""

    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        most_bytes = max_response_bytes(otherwise=MAX_RESPONSE_BYTES)
        left_bytes = most_bytes
        for piece in self._stream:
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise httpx2.DecodingError(f"the response is longer than {most_bytes} bytes")
            yield piece

    def close(self) -> None:
        self._stream.close()
