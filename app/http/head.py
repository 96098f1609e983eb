"""Checks the method and the headers of an outbound request, so that none can smuggle in a second one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.http.failures import OutboundRefusedError

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

MAX_HEADERS_BYTES = 16 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Printable ASCII and tabs; no header of ours needs more, and receivers disagree about the rest.
_VALUE = re.compile(r"[\t\x20-\x7e]*")
#: The client sets these itself: they frame the message.
_OURS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "proxy-authorization",
        "proxy-connection",
        "keep-alive",
        "accept-encoding",
    }
)


def check_method(method: str) -> str:
    """The method in capitals; raises `OutboundRefusedError` for any but the usual ones."""
    if method.upper() not in METHODS:
        raise OutboundRefusedError(
            "http.refused_method", "the method is none of " + ", ".join(sorted(METHODS))
        )
    return method.upper()


def check_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers as they are sent; raises `OutboundRefusedError`, without quoting any value."""
    checked: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise OutboundRefusedError("http.refused_header", "a header has a name that no header can have")
        if name.lower() in _OURS:
            raise OutboundRefusedError("http.refused_header", f"the header {name} can't be set")
        if not _VALUE.fullmatch(value):
            raise OutboundRefusedError(
                "http.refused_header", f"the header {name} has a line break or the like"
            )
        checked.append((name.encode(), value.strip(" \t").encode()))
    if sum(len(name) + len(value) + 4 for name, value in checked) > MAX_HEADERS_BYTES:
        raise OutboundRefusedError(
            "http.refused_header", f"the headers are longer than {MAX_HEADERS_BYTES} bytes"
        )
    return checked
