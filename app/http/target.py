"""Reads the URL of an outbound request, strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urljoin, urlsplit

from app.http.failures import OutboundRefusedError

MAX_URL_CHARS = 4096

_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
#: A last label that a lenient parser takes for a number, so that the host may be an address in disguise.
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where a request goes: `host` is a lower-case name or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and not a name."""
        return ":" in self.host or _NUMBER.fullmatch(self.host.rpartition(".")[2]) is not None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its canonical spelling."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def join(self, location: str) -> Target:
        """The target that a Location header names, relative to this one."""
        return read_target(urljoin(self.url, location))


def read_target(url: str) -> Target:
    """Parse an http or https URL; raises `OutboundRefusedError` with `http.refused_url` and a reason."""
    if len(url) > MAX_URL_CHARS:
        raise _refused(f"it is longer than {MAX_URL_CHARS} characters")
    if not url.isascii() or any(ord(char) <= 0x20 or char in '\x7f\\"<>^`{|}' for char in url):
        raise _refused("it has characters that must be percent-encoded, or a host that must be punycode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("it can't be parsed") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise _refused("its scheme is neither https nor http")
    if "@" in parts.netloc:
        raise _refused("it carries a user name")
    if port == 0 or parts.netloc.endswith(":"):
        raise _refused("it names no usable port")
    query = f"?{parts.query}" if parts.query else ""
    return Target(
        scheme, _read_host(parts.netloc), port or _DEFAULT_PORTS[scheme], f"{parts.path or '/'}{query}"
    )


def _read_host(authority: str) -> str:
    host = authority.lower()
    if host.startswith("["):
        literal, _, rest = host[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise _refused("its host can't be parsed")
        return _read_ipv6(literal)
    host = host.partition(":")[0]
    if "%" in host:
        raise _refused("its host is percent-encoded")
    if host.endswith("."):
        raise _refused("its host ends with a dot")
    if not _NAME.fullmatch(host):
        raise _refused("its host is not a host name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _read_ipv4(host)
    return host


def _read_ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        raise _refused("its host is a number, but not four decimal ones with dots") from None


def _read_ipv6(literal: str) -> str:
    if "%" in literal:
        raise _refused("its address has a zone")
    try:
        return str(IPv6Address(literal))
    except AddressValueError:
        raise _refused("its address can't be parsed") from None


def _refused(reason: str) -> OutboundRefusedError:
    return OutboundRefusedError("http.refused_url", f"the URL is refused: {reason}")
