"""A local stand-in for Supabase Storage: private buckets over its HTTP API, in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer, json_response

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


class StorageServer(RespondingServer):
    """Storage on a port of 127.0.0.1; use it as a context manager.

    `objects` maps `bucket/key` to what was put there. `failures` are the statuses that the next uploads are
    refused with, one each. A signed URL is good as long as the server lives.
    """

    def __init__(self, service_key: str = "service-role-local-0123456789") -> None:
        super().__init__()
        self.service_key = service_key
        self.objects: dict[str, StoredObject] = {}
        self.failures: list[int] = []
        self.uploads = 0
        self._guard = threading.Lock()

    @property
    def url(self) -> str:
        """The root of the stand-in Supabase project."""
        return self.origin

    def environment(self) -> dict[str, str]:
        """The environment variables that send a worker's media here."""
        return {"SUPABASE_URL": self.url, "SUPABASE_SERVICE_ROLE_KEY": self.service_key}

    def respond(self, request: Request) -> Response:
        """Take an upload, sign for an object, or give one."""
        parts = urlsplit(request.path)
        if not parts.path.startswith(_OBJECT):
            return json_response(404, {"error": "not_found", "message": "Route not found"})
        path = unquote(parts.path.removeprefix(_OBJECT))
        if request.method == "GET":
            token = dict(parse_qsl(parts.query)).get("token")
            return self._get(path.removeprefix(_SIGN).removeprefix(_READ), token, request.headers)
        if path.startswith(_SIGN):
            return self._sign(path.removeprefix(_SIGN), request.headers)
        return self._put(path, request.headers, request.body)

    def _put(self, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Take an upload."""
        bucket = path.partition("/")[0]
        with self._guard:
            self.uploads += 1
            if self.failures:
                status = self.failures.pop(0)
                return json_response(status, _refusal(status, "Error", "scripted"))
            if not self._has_key(headers):
                return json_response(400, _refusal(403, "Unauthorized", "jws invalid"))
            if bucket not in BUCKETS:
                return json_response(400, _refusal(404, "Bucket not found", "Bucket not found"))
            if len(body) > BUCKETS[bucket]:
                return json_response(400, _refusal(413, "Payload too large", "too large"))
            if path in self.objects and headers.get("x-upsert") != "true":
                return json_response(400, _refusal(409, "Duplicate", "already exists"))
            self.objects[path] = StoredObject(headers.get("content-type", ""), body)
        return json_response(200, {"Key": path, "Id": "00000000-0000-0000-0000-000000000000"})

    def _sign(self, path: str, headers: Mapping[str, str]) -> Response:
        """A URL with a token for an object, relative to Storage's root."""
        if not self._has_key(headers):
            return json_response(400, _refusal(403, "Unauthorized", "jws invalid"))
        if path not in self.objects:
            return json_response(400, _refusal(404, "not_found", "Object not found"))
        return json_response(200, {"signedURL": f"/object/sign/{quote(path)}?token={self._token(path)}"})

    def _get(self, path: str, token: str | None, headers: Mapping[str, str]) -> Response:
        """An object for whoever has the service's key, or a token for it."""
        may = token == self._token(path) or self._has_key(headers)
        found = self.objects.get(path) if may else None
        if found is None:
            return json_response(400, _refusal(404, "not_found", "Object not found"))
        return Response(200, found.content, found.mime)

    def seed(self, path: str, mime: str, content: bytes) -> str:
        """Put an object there by hand, and give the token of its signed URL."""
        self.objects[path] = StoredObject(mime, content)
        return self._token(path)

    def _has_key(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Bearer {self.service_key}"

    def _token(self, path: str) -> str:
        return hashlib.sha256(f"{self.service_key} {path}".encode()).hexdigest()


def _refusal(status: int, error: str, message: str) -> dict[str, str]:
    """A refusal as the real service writes it: most come as 400 with their own status in the body."""
    return {"statusCode": str(status), "error": error, "message": message}
