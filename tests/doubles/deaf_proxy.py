"""A proxy to Postgres that swallows notifications, as a pooler in transaction mode does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

NOTIFICATION = b"A"


@contextmanager
def deaf_proxy(dsn: str) -> Iterator[str]:
    """The DSN of the proxy in front of the server that `dsn` names."""
    target = urlsplit(dsn)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, (target.hostname, target.port)), daemon=True).start()
    user = target.netloc.rpartition("@")[0]
    try:
        yield target._replace(netloc=f"{user}@127.0.0.1:{listener.getsockname()[1]}").geturl()
    finally:
        listener.close()


def _accept(listener: socket.socket, address: tuple[str | None, int | None]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(address)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            threading.Thread(target=_copy_messages, args=(server, client), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError), source, sink:
        while chunk := source.recv(65_536):
            sink.sendall(chunk)


def _copy_messages(server: socket.socket, client: socket.socket) -> None:
    """Copy message by message: a type byte, a length that counts itself, and the rest."""
    with suppress(OSError), server, client, server.makefile("rb") as stream:
        first = stream.read(1)
        if first == b"N":  # the answer to a request for TLS has no length
            client.sendall(first)
            first = stream.read(1)
        while first:
            length = stream.read(4)
            body = stream.read(struct.unpack("!i", length)[0] - 4)
            if first != NOTIFICATION:
                client.sendall(first + length + body)
            first = stream.read(1)
