"""How the local provider server answers: whole, dripping, cut in the middle, never, or with a reset."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from app.local.provider_scenarios import Response

#: How often a kept-back call looks whether its client has gone.
LOOK_SECONDS = 0.1


class MannersHandler(BaseHTTPRequestHandler):
    """Sends responses in the manner that they ask for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def closing(self) -> threading.Event:
        """Set when the server ends."""
        raise NotImplementedError

    @property
    def drip_seconds(self) -> float:
        """Time between two bytes of a dripping answer."""
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """The calls are recorded; nothing is printed."""

    def send(self, response: Response) -> None:
        """Send one response."""
        head = f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('Overloaded',))[0]}\r\n"
        fields = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "x-request-id": "req_local",
            "request-id": "req_local",
            **response.headers,
        }
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        if response.manner == "whole":
            self.wfile.write(head.encode() + response.body)
            return
        self.close_connection = True
        with contextlib.suppress(OSError):
            self._misbehave(response, head.encode())

    def _misbehave(self, response: Response, head: bytes) -> None:
        if response.manner == "hang":
            while not self.closing.wait(LOOK_SECONDS) and not has_hung_up(self.connection):
                pass
        elif response.manner == "reset":
            linger_not = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
            self.connection.close()
        elif response.manner == "cut":
            self.wfile.write(head + response.body[: len(response.body) // 2])
        else:
            self.wfile.write(head)
            for byte in response.body:
                self.wfile.write(bytes([byte]))
                if self.closing.wait(self.drip_seconds):
                    return


def has_hung_up(client: socket.socket) -> bool:
    """Whether the other side has closed its connection, without taking anything from it."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
