"""Proxies to Postgres that show what poolers show: numbers of their own for sessions, lost notifications.

Like PgBouncer they refuse the startup parameter `options`.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

NOTIFICATION, KEY_DATA = b"A", b"K"

Message = tuple[bytes, bytes]
Change = Callable[[Message], Message | None]


@contextmanager
def deaf_proxy(dsn: str) -> Iterator[str]:
    """A DSN by which no notification arrives, as through a pooler in transaction mode."""
    with _proxy(dsn, lambda message: None if message[0] == NOTIFICATION else message) as address:
        yield address


@contextmanager
def session_pooler(dsn: str) -> Iterator[str]:
    """A DSN by which sessions have other numbers than their processes, as through any pooler."""

    def disguise(message: Message) -> Message:
        return (KEY_DATA, struct.pack("!ii", 1_234_567, 42)) if message[0] == KEY_DATA else message

    with _proxy(dsn, disguise) as address:
        yield address


@contextmanager
def _proxy(dsn: str, change: Change) -> Iterator[str]:
    target = urlsplit(dsn)
    listener = socket.create_server(("127.0.0.1", 0))
    address = (target.hostname, target.port)
    threading.Thread(target=_accept, args=(listener, address, change), daemon=True).start()
    user = target.netloc.rpartition("@")[0]
    try:
        yield target._replace(netloc=f"{user}@127.0.0.1:{listener.getsockname()[1]}").geturl()
    finally:
        listener.close()


#: How a startup message begins after its length, and the parameter that poolers take from nobody.
_STARTUP, _REFUSED_PARAMETER = struct.pack("!i", 196_608), b"\0options\0"
_REFUSAL = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"


def _accept(listener: socket.socket, address: tuple[str | None, int | None], change: Change) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(address)
            for end in (client, server):
                # Messages go one by one, and none is to wait for the last one's acknowledgement.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy_messages, args=(server, client, change), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source, sink:
        while chunk := source.recv(65_536):
            if chunk[4:8] == _STARTUP and _REFUSED_PARAMETER in chunk:
                source.sendall(b"E" + struct.pack("!i", len(_REFUSAL) + 4) + _REFUSAL)
                return
            sink.sendall(chunk)


def _copy_messages(server: socket.socket, client: socket.socket, change: Change) -> None:
    """Copy message by message: a type byte, a length that counts itself, and the rest."""
    with suppress(OSError), server, client, server.makefile("rb") as stream:
        first = stream.read(1)
        if first == b"N":  # the answer to a request for TLS has no length
            client.sendall(first)
            first = stream.read(1)
        while first:
            length = stream.read(4)
            body = stream.read(struct.unpack("!i", length)[0] - 4)
            if (changed := change((first, body))) is not None:
                kind, body = changed
                client.sendall(kind + struct.pack("!i", len(body) + 4) + body)
            first = stream.read(1)
        client.shutdown(socket.SHUT_RDWR)  # a thread reads from it, and to close it would wait for that
