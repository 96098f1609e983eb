"""A server of anything that tells whoever asks all that it was told: headers, path and body.

A request whose path or body has `telltale-<way>` in it is met in that way: an HTTP status, `garbage`,
`reset` or `hang`; every other one is met with a 401. What Sentry is sent is kept.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_WAY = re.compile(r"telltale-(\d{3}|garbage|reset|hang)")


class Telltale:
    """The server as a test sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.sentry_dsn = f"http://public@127.0.0.1:{port}/1"
        self.envelopes: list[bytes] = []
        #: All that it was told by requests other than Sentry's.
        self.heard = b""
        self.closing = threading.Event()


@contextmanager
def telltale_server() -> Iterator[Telltale]:
    """A telltale on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def meet(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = f"{self.command} {self.path}\n{self.headers}\n{body.decode('utf-8', 'replace')}"
            if self.path.startswith("/api/1/envelope"):
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                telltale.envelopes.append(gzip.decompress(body) if is_packed else body)
                self.give(200, {})
                return
            telltale.heard += told.encode()
            found = _WAY.search(told)
            way = found[1] if found else "401"
            # As text, as fields that are objects where texts belong, and as words of the provider's own.
            values = dict(self.headers.items())
            error = {"message": f"refused: {told}", "type": told, "code": told, "headers": values}
            if way == "hang":
                telltale.closing.wait(10)
            elif way == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            elif way == "garbage":
                self.give(200, {"choices": [{"message": values}], "content": error, "id": [told], **error})
            else:
                self.give(int(way), {"error": error, "message": told, "detail": [told], "ok": False})

        def give(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{verb}", Handler.meet)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    telltale = Telltale(server.server_address[1])
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield telltale
    finally:
        telltale.closing.set()
        server.shutdown()
        server.server_close()
