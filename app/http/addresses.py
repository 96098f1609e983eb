"""Which IP addresses may be dialled: public unicast ones, and nothing that leads back inside.

The lists follow IANA's special-purpose registries (RFC 6890 and its updates). An IPv6 address that carries
an IPv4 address is judged by that one too, since a gateway may send the packet there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_IPV4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "255.255.255.255/32": "broadcast",
    "240.0.0.0/4": "reserved",
}

#: Everything outside 2000::/3 is refused anyway; the names only make the reason readable.
_REFUSED_IPV6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::ffff:0:0/96": "IPv4-mapped",
    "::ffff:0:0:0/96": "IPv4-translated",
    "::/96": "IPv4-compatible",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard",
    "100:0:0:1::/64": "dummy prefix",
    "2001::/32": "Teredo",
    "2001:2::/48": "benchmarking",
    "2001:10::/28": "ORCHID",
    "2001:20::/28": "ORCHIDv2",
    "2001:db8::/32": "documentation",
    "2001::/23": "protocol assignments",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "unique local",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}

_IPV4 = [(IPv4Network(network), reason) for network, reason in _REFUSED_IPV4.items()]
_IPV6 = [(IPv6Network(network), reason) for network, reason in _REFUSED_IPV6.items()]
_IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")

#: Interface identifiers of ISATAP (RFC 5214): these 32 bits, then an IPv4 address.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


@lru_cache(maxsize=4096)
def refusal_of(address: str) -> str | None:
    """Why this address must not be dialled, in a word or two; None when it may be.

    Raises ValueError for what is no address.
    """
    if "%" in address:
        return "link-local with a zone"
    parsed = ip_address(address)
    if isinstance(parsed, IPv4Address):
        return _refusal_of_ipv4(parsed)
    reason = next((reason for network, reason in _IPV6 if parsed in network), None)
    if reason is None and parsed not in _IPV6_GLOBAL_UNICAST:
        reason = "not global unicast"
    if reason is not None:
        return reason
    return next((f"embeds {inner}" for v4 in _embedded(parsed) if (inner := _refusal_of_ipv4(v4))), None)


def _refusal_of_ipv4(address: IPv4Address) -> str | None:
    return next((reason for network, reason in _IPV4 if address in network), None)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """IPv4 addresses inside an address of a provider's own prefix."""
    value = int(address)
    if (value >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(value & 0xFFFF_FFFF)
