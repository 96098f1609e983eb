"""How a local server answers: whole, dripping, cut in the middle, without an end, never, or with a reset."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

Manner = Literal["whole", "drip", "cut", "endless", "hang", "reset"]

#: How often a request that is kept waiting looks whether its client has gone.
LOOK_SECONDS = 0.05

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True)
class Response:
    """What goes back, and how."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = "whole"


class Client:
    """Whoever asked, at the other end of a connection."""

    def __init__(self, connection: socket.socket, closing: threading.Event, drip_seconds: float) -> None:
        self._connection = connection
        self._closing = closing
        self._drip_seconds = drip_seconds
        #: Whether the connection can take another request.
        self.may_go_on = True

    def has_hung_up(self) -> bool:
        """Whether the other side has closed its connection, without taking anything from it."""
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, response: Response) -> None:
        """Send one response in its manner."""
        if response.manner == "whole":
            self._connection.sendall(_head(response) + response.body)
            return
        self.may_go_on = False
        with contextlib.suppress(OSError):
            self._misbehave(response)

    def _misbehave(self, response: Response) -> None:
        if response.manner == "hang":
            while not self._closing.wait(LOOK_SECONDS) and not self.has_hung_up():
                pass
        elif response.manner == "reset":
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._connection.close()
        elif response.manner == "cut":
            self._connection.sendall(_head(response) + response.body[: len(response.body) // 2])
        else:
            self._connection.sendall(_head(response))
            self._go_on_and_on(response)

    def _go_on_and_on(self, response: Response) -> None:
        if response.manner == "drip":
            for byte in response.body:
                self._connection.sendall(bytes([byte]))
                if self._closing.wait(self._drip_seconds):
                    return
        else:
            while not self._closing.is_set():
                self._connection.sendall(b"x" * 65_536)


def _head(response: Response) -> bytes:
    length = 10**9 if response.manner == "endless" else len(response.body)
    fields = {"Content-Type": response.content_type} if response.body else {}
    fields |= {"Content-Length": str(length), **response.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Overloaded')}\r\n{lines}\r\n".encode()
