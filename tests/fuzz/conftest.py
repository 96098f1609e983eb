"""A server that answers with whatever a test has put into it, and settings that lead to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.local.provider_server import ProviderServer
from app.settings import settings


class Parrot:
    """One answer for every request, until the next one is set."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answer: tuple[int, Mapping[str, str], bytes] = (200, {}, b"")


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parrot]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def meet(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = parrot.answer
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    for verb in ("GET", "POST"):
        setattr(Handler, f"do_{verb}", Handler.meet)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    parrot = Parrot(server.server_address[1])
    monkeypatch.setenv("DATABASE_URL", "postgres://x/y")
    with ProviderServer() as names:
        for name in names.environment():
            if not name.endswith("_URL"):
                continue
            monkeypatch.setenv(name, f"{parrot.url}/{name.lower()}")
    settings.cache_clear()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield parrot
    finally:
        server.shutdown()
        server.server_close()
        settings.cache_clear()
