"""A local stand-in for Supabase Storage: private buckets over its HTTP API, in memory."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import unquote

#: The platform's buckets for media, and what they take, in bytes.
BUCKETS = {"generated-media": 100 * 1024 * 1024, "battles-media": 50 * 1024 * 1024}

_OBJECT = "/storage/v1/object/"


@dataclass(frozen=True)
class StoredObject:
    """An object as it was put."""

    mime: str
    content: bytes = field(repr=False)


class StorageServer:
    """Storage on a port of 127.0.0.1; use it as a context manager.

    `objects` maps `bucket/key` to what was put there. `failures` are the statuses that the next uploads are
    refused with, one each.
    """

    def __init__(self, service_key: str = "service-role-local-0123456789") -> None:
        self.service_key = service_key
        self.objects: dict[str, StoredObject] = {}
        self.failures: list[int] = []
        self.uploads = 0
        self._guard = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The root of the stand-in Supabase project."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """The environment variables that send a worker's media here."""
        return {"SUPABASE_URL": self.url, "SUPABASE_SERVICE_ROLE_KEY": self.service_key}

    def put(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and answer of an upload; refusals look like the real ones, whose status is in the body."""
        bucket = path.partition("/")[0]
        with self._guard:
            self.uploads += 1
            if self.failures:
                status = self.failures.pop(0)
                return status, {"statusCode": str(status), "error": "Error", "message": "scripted"}
            if headers.get("authorization") != f"Bearer {self.service_key}":
                return 400, {"statusCode": "403", "error": "Unauthorized", "message": "jws invalid"}
            if bucket not in BUCKETS:
                return 400, {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
            if len(body) > BUCKETS[bucket]:
                return 400, {"statusCode": "413", "error": "Payload too large", "message": "too large"}
            if path in self.objects and headers.get("x-upsert") != "true":
                return 400, {"statusCode": "409", "error": "Duplicate", "message": "already exists"}
            self.objects[path] = StoredObject(headers.get("content-type", ""), body)
        return 200, {"Key": path, "Id": "00000000-0000-0000-0000-000000000000"}


class _Server(ThreadingHTTPServer):
    owner: StorageServer
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """The objects are recorded; nothing is printed."""

    def do_POST(self) -> None:
        """Take an upload."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not self.path.startswith(_OBJECT):
            self._answer(404, {"error": "not_found", "message": "Route not found"})
            return
        path = unquote(self.path.removeprefix(_OBJECT))
        self._answer(*cast(_Server, self.server).owner.put(path, headers, body))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
