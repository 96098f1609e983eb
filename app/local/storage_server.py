"""A local stand-in for Supabase Storage: private buckets over its HTTP API, in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

#: The platform's buckets for media and files, and what they take, in bytes.
BUCKETS = {
    "generated-media": 100 * 1024 * 1024,
    "battles-media": 50 * 1024 * 1024,
    "artifacts": 100 * 1024 * 1024,
}

_OBJECT = "/storage/v1/object/"
_SIGN = "sign/"
_READ = "authenticated/"


@dataclass(frozen=True)
class StoredObject:
    """An object as it was put."""

    mime: str
    content: bytes = field(repr=False)


class StorageServer:
    """Storage on a port of 127.0.0.1; use it as a context manager.

    `objects` maps `bucket/key` to what was put there. `failures` are the statuses that the next uploads are
    refused with, one each. A signed URL is good as long as the server lives.
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

    def sign(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """A URL with a token for an object, relative to Storage's root."""
        if headers.get("authorization") != f"Bearer {self.service_key}":
            return 400, {"statusCode": "403", "error": "Unauthorized", "message": "jws invalid"}
        if path not in self.objects:
            return 400, {"statusCode": "404", "error": "not_found", "message": "Object not found"}
        return 200, {"signedURL": f"/object/sign/{quote(path)}?token={self._token(path)}"}

    def get(self, path: str, token: str | None, headers: dict[str, str]) -> StoredObject | None:
        """An object for whoever has the service's key, or a token for it."""
        may = token == self._token(path) or headers.get("authorization") == f"Bearer {self.service_key}"
        return self.objects.get(path) if may else None

    def seed(self, path: str, mime: str, content: bytes) -> str:
        """Put an object there by hand, and give the token of its signed URL."""
        self.objects[path] = StoredObject(mime, content)
        return self._token(path)

    def _token(self, path: str) -> str:
        return hashlib.sha256(f"{self.service_key} {path}".encode()).hexdigest()


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
        owner = cast(_Server, self.server).owner
        if path.startswith(_SIGN):
            self._answer(*owner.sign(path.removeprefix(_SIGN), headers))
        else:
            self._answer(*owner.put(path, headers, body))

    def do_GET(self) -> None:
        """Give an object."""
        parts = urlsplit(self.path)
        path = unquote(parts.path.removeprefix(_OBJECT)).removeprefix(_SIGN).removeprefix(_READ)
        token = dict(parse_qsl(parts.query)).get("token")
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = cast(_Server, self.server).owner.get(path, token, headers)
        if found is None:
            self._answer(400, {"statusCode": "404", "error": "not_found", "message": "Object not found"})
        else:
            self._send(200, found.mime, found.content)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, mime: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", mime)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
