"""A total deadline for one HTTP call: connecting, sending and reading to the last byte share it.

The SDKs' own timeouts bound one socket operation each, so a server that sends a byte now and then keeps a
thread for as long as it likes. Here the network stream gives every operation only what is left.

Two limits: looking up a host name can't be interrupted (the resolver's own timeouts apply), and the
deadline belongs to the thread, so a call must not move to another one half way.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpcore2

from app import memory
from app.http.large_responses import Share
from app.http.resolution import Resolver, system_resolver

#: Longest wait for one address of a host, so that an address which swallows packets leaves time for the next.
CONNECT_SECONDS = 10.0

#: A slow reader restarts the clock with every piece it takes, so pieces are small enough to be checked.
_WRITE_BYTES = 64 * 1024

_call = threading.local()

#: The connection that each thread waits on, so that another one can break it off.
_waiting: dict[int, httpcore2.NetworkStream] = {}
_waiting_guard = threading.Lock()
#: Threads whose last call was broken off, and those that are to make no other.
_interrupted: set[int] = set()
_refused: set[int] = set()


@contextmanager
def total_deadline(seconds: float, *, max_response_bytes: int | None = None) -> Iterator[None]:
    """Everything this thread does over the shared HTTP client inside the block ends within `seconds`.

    A response may have up to `max_response_bytes`; without it, what its client allows.
    """
    outer: float | None = getattr(_call, "deadline", None)
    deadline = time.monotonic() + seconds
    _call.deadline = deadline if outer is None else min(deadline, outer)
    if outer is None:
        _interrupted.discard(threading.get_ident())
        _call.share = Share()
        _call.max_response_bytes = max_response_bytes
    try:
        yield
    finally:
        _call.deadline = outer
        if outer is None and _call.share.give_back():
            memory.give_back_soon()


def max_response_bytes(otherwise: int) -> int:
    """The most that a response to this thread's call may have."""
    limit: int | None = getattr(_call, "max_response_bytes", None)
    return otherwise if limit is None or getattr(_call, "deadline", None) is None else limit


def interrupt(thread_id: int) -> bool:
    """Break the connection that a thread reads from or writes to; False if it does neither just now.

    The thread finds the connection closed by the other side.
    """
    with _waiting_guard:
        stream = _waiting.get(thread_id)
        if stream is None:
            return False
        with suppress(OSError):  # closed by the other side just now
            # A TLS socket's own method would take its state away under the thread that uses it.
            socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
        _interrupted.add(thread_id)
        return True


def refuse_calls(thread_id: int) -> None:
    """Have every further call of a thread fail, until they are allowed again."""
    _refused.add(thread_id)


def allow_calls(thread_id: int) -> None:
    """The thread is at something else from here on."""
    _refused.discard(thread_id)


def was_interrupted() -> bool:
    """Whether somebody here, not the other side, broke this thread's last call off."""
    return threading.get_ident() in _interrupted


@contextmanager
def _waiting_on(stream: httpcore2.NetworkStream) -> Iterator[None]:
    thread_id = threading.get_ident()
    with _waiting_guard:
        _waiting[thread_id] = stream
    try:
        yield
    finally:
        with _waiting_guard:
            del _waiting[thread_id]


def _left(timeout: float | None, expired: type[httpcore2.TimeoutException]) -> float | None:
    """The timeout of the next socket operation, in seconds; raises `expired` when no time is left."""
    if threading.get_ident() in _refused:
        raise expired("nobody wants what this thread calls for")
    deadline: float | None = getattr(_call, "deadline", None)
    if deadline is None:
        return timeout
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise expired("total deadline passed")
    return remaining if timeout is None else min(timeout, remaining)


def _count(received_bytes: int) -> None:
    """Wait for a place where a response is large; raises where none becomes free within the deadline."""
    deadline: float | None = getattr(_call, "deadline", None)
    if deadline is None:
        return
    if not _call.share.add(received_bytes, deadline - time.monotonic()):
        raise httpcore2.ReadTimeout("too many large responses at a time")


class DeadlineStream(httpcore2.NetworkStream):
    """A connection whose every operation is cut at the calling thread's deadline."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, at most `max_bytes`."""
        with _waiting_on(self._stream):
            received = self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))
        _count(len(received))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of `buffer`."""
        for start in range(0, len(buffer), _WRITE_BYTES):
            piece = buffer[start : start + _WRITE_BYTES]
            with _waiting_on(self._stream):
                self._stream.write(piece, _left(timeout, httpcore2.WriteTimeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Shake hands; what comes back keeps the deadline too."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """What the wrapped connection knows about itself."""
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore2.NetworkBackend):
    """Opens connections that keep the calling thread's deadline, trying a host's addresses in turn.

    Parameters:
      resolve: gives the addresses of a host.
      sockets: connects to one address.
    """

    def __init__(
        self, resolve: Resolver = system_resolver, sockets: httpcore2.NetworkBackend | None = None
    ) -> None:
        self._resolve = resolve
        self._sockets = sockets or httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of `host` that accepts."""
        failure: Exception = httpcore2.ConnectError("the host has no address")
        patience = CONNECT_SECONDS if timeout is None else min(timeout, CONNECT_SECONDS)
        for address in self._look_up(host, port):
            left = _left(patience, httpcore2.ConnectTimeout)
            try:
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return DeadlineStream(stream)
        raise failure

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            return self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"the host name can't be resolved ({error.strerror})") from error
