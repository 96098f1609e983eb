"""A server of anything that tells whoever asks all that it was told: headers, path and body.

A request whose path or body has `telltale-<way>` in it is met in that way: an HTTP status, `garbage`,
`reset` or `hang`; every other one is met with a 401. What Sentry is sent is kept.
"""

from __future__ import annotations

import gzip
import re

from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer, json_response

_WAY = re.compile(r"telltale-(\d{3}|garbage|reset|hang)")


class Telltale(RespondingServer):
    """The server; use it as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self.url = self.origin
        self.sentry_dsn = f"http://public@{self.address}/1"
        self.envelopes: list[bytes] = []
        #: All that it was told by requests other than Sentry's.
        self.heard = b""

    def respond(self, request: Request) -> Response:
        if request.path.startswith("/api/1/envelope"):
            is_packed = request.headers.get("content-encoding") == "gzip"
            self.envelopes.append(gzip.decompress(request.body) if is_packed else request.body)
            return json_response(200, {})
        values = dict(request.headers)
        headers = "".join(f"{name}: {value}\n" for name, value in values.items())
        told = f"{request.method} {request.path}\n{headers}\n{request.body.decode('utf-8', 'replace')}"
        self.heard += told.encode()
        found = _WAY.search(told)
        way = found[1] if found else "401"
        # As text, as fields that are objects where texts belong, and as words of the provider's own.
        error = {"message": f"refused: {told}", "type": told, "code": told, "headers": values}
        if way in ("hang", "reset"):
            return Response(200, manner=way)
        if way == "garbage":
            return json_response(
                200, {"choices": [{"message": values}], "content": error, "id": [told], **error}
            )
        return json_response(int(way), {"error": error, "message": told, "detail": [told], "ok": False})
