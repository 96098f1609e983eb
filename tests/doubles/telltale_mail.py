"""A mail server that lets nobody in, and quotes what they said."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TelltaleMail(socketserver.ThreadingTCPServer):
    """The server; `heard` is all that it was told."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.heard = b""


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 telltale\r\n")
        for line in self.rfile:
            self.server.heard += line  # type: ignore[attr-defined]
            if line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-telltale\r\n250 AUTH PLAIN LOGIN\r\n")
            else:
                self.wfile.write(b"535 5.7.8 refused: " + line)


@contextmanager
def telltale_mail() -> Iterator[TelltaleMail]:
    """A mail server on a port of its own."""
    with TelltaleMail() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
