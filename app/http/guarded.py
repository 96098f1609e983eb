"""The guarded client: the only way to a host that a user named.

It resolves a name once, checks every address it got, and dials one of exactly those, so that an answer
which changes between check and connect changes nothing. Everything from the lookup to the last byte shares
one deadline; the response is read up to a limit and no further, also where it comes compressed although
that was declined. Proxies, `.netrc` and cookies play no part, and each request has a connection of its own.

What it does not do: a lookup that hangs leaves its thread behind until the system's resolver gives up.
"""

from __future__ import annotations

import codecs
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import httpcore2
import httpx2

from app.http.allow_list import AllowList
from app.http.deadline import DeadlineBackend, total_deadline
from app.http.failures import OutboundFailedError, OutboundRefusedError
from app.http.head import check_headers, check_method
from app.http.reading import read_body
from app.http.resolution import Resolver, permitted_addresses, refuse_early, system_resolver
from app.http.target import Target, read_target
from app.settings import settings

MAX_RESPONSE_BYTES = 64 * 1024

#: Headers that are about a body as it came over the wire.
_OF_PACKED_BODIES = frozenset({"content-encoding", "content-length"})

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Response:
    """What came back; `body` ends at the limit, and `is_truncated` tells that there would have been more.

    Header names are lower case; of a header that came twice the first one counts. `url` is the one that
    answered in the end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_truncated: bool
    duration_ms: int
    url: str

    @property
    def json_body(self) -> bytes:
        """The body without a byte order mark, which parsers of JSON take for garbage."""
        return self.body.removeprefix(codecs.BOM_UTF8)

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as it says it; None for any other response."""
        return self.headers.get("location") or None if self.status in _REDIRECTS else None


class GuardedClient:
    """Sends single requests; safe to use from every thread.

    Parameters:
      allowed: what a deployer lets through although it is private or not https.
      resolve: looks names up; tests put a hostile one here.
      dialler: opens TCP connections to addresses; tests see here what would have been dialled.
    """

    def __init__(
        self,
        allowed: AllowList | None = None,
        *,
        resolve: Resolver = system_resolver,
        dialler: httpcore2.NetworkBackend | None = None,
    ) -> None:
        self._allowed = allowed or AllowList()
        self._resolve = resolve
        self._dialler = dialler or httpcore2.SyncBackend()

    def refuse_early(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Raise `OutboundRefusedError` for what would be refused whatever the host's name leads to."""
        check_headers(headers or {})
        refuse_early(read_target(url), self._allowed)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        deadline_seconds: float = 15.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        same_host_redirects: int = 0,
    ) -> Response:
        """Send one request and read its response, whatever its status.

        A redirect is returned like any other response. Only GET and HEAD may follow up to
        `same_host_redirects` of them, and only to the same scheme, host and port, at the same address.
        Raises `OutboundRefusedError` before anything is dialled, `OutboundFailedError` afterwards.
        """
        verb, checked, target = check_method(method), check_headers(headers or {}), read_target(url)
        began = time.monotonic()
        addresses = permitted_addresses(target, self._allowed, self._resolve, within_seconds=deadline_seconds)
        follow = same_host_redirects if verb in {"GET", "HEAD"} else 0
        with total_deadline(deadline_seconds - (time.monotonic() - began)):
            while True:
                backend = DeadlineBackend(lambda *_: addresses, self._dialler)
                response = _exchange(backend, verb, target, checked, body, max_response_bytes, began)
                onward = _onward(target, response) if follow > 0 else None
                if onward is None:
                    return response
                follow, target = follow - 1, onward


@lru_cache(maxsize=1)
def guarded_client() -> GuardedClient:
    """The process's client, with the allow-list of its settings."""
    return GuardedClient(AllowList.parse(settings().outbound_allowed_hosts))


def _exchange(
    backend: httpcore2.NetworkBackend,
    method: str,
    target: Target,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    max_response_bytes: int,
    began: float,
) -> Response:
    url = httpcore2.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    tls = _tls_context() if target.scheme == "https" else None
    try:
        with (
            httpcore2.HTTPConnection(url.origin, tls, network_backend=backend) as connection,
            connection.stream(
                method, url, headers=_framed(method, target, headers, body), content=body or None
            ) as response,
        ):
            received = _first_values(response.headers)
            encoding = received.get("content-encoding", "")
            content = read_body(response.iter_stream(), encoding, max_response_bytes)
    except httpcore2.TimeoutException as error:
        unsent = isinstance(error, httpcore2.ConnectTimeout)
        message = "no complete response within the deadline"
        raise OutboundFailedError("http.timeout", message, is_unsent=unsent) from None
    except (httpcore2.ConnectError, ssl.SSLError) as error:
        raise _connect_failure(error) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise OutboundFailedError(
            "http.broken_response", f"the connection broke off ({type(error).__name__})"
        ) from None
    return Response(
        status=response.status,
        headers=_without(received, _OF_PACKED_BODIES) if content.is_unpacked else received,
        body=content.content,
        is_truncated=content.is_truncated,
        duration_ms=round((time.monotonic() - began) * 1000),
        url=target.url,
    )


def _framed(
    method: str, target: Target, headers: list[tuple[bytes, bytes]], body: bytes
) -> list[tuple[bytes, bytes]]:
    """The caller's headers and the client's own."""
    own = [
        (b"Host", target.authority.encode()),
        (b"Connection", b"close"),
        (b"Accept-Encoding", b"identity"),
    ]
    if body or method in {"POST", "PUT", "PATCH"}:
        own.append((b"Content-Length", str(len(body)).encode()))
    if not any(name.lower() == b"user-agent" for name, _ in headers):
        own.append((b"User-Agent", b"LenserFight-Worker"))
    return own + headers


def _onward(target: Target, response: Response) -> Target | None:
    """Where a redirect to the same origin leads; None for what is none, or leads elsewhere."""
    if response.location is None:
        return None
    try:
        onward = target.join(response.location)
    except (OutboundRefusedError, ValueError):
        return None
    same = (onward.scheme, onward.host, onward.port) == (target.scheme, target.host, target.port)
    return onward if same else None


@cache
def _tls_context() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _connect_failure(error: Exception) -> OutboundFailedError:
    unsent = isinstance(error, httpcore2.ConnectError)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return OutboundFailedError("http.tls_failed", "the TLS handshake failed", is_unsent=unsent)
    return OutboundFailedError("http.connect_failed", "the host can't be connected to", is_unsent=unsent)


def _without(headers: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}


def _first_values(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return values
