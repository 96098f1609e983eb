"""Hosts that a deployer lets requests go to although they are private, for development and intranets."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class AllowList:
    """Host names, `host:port` pairs and networks; an allowed destination may be private and plain http."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read a comma-separated list: `localhost`, `127.0.0.1:8080`, `[::1]:8080`, `10.1.0.0/16`.

        Raises ValueError for an entry that is none of these.
        """
        names: set[str] = set()
        networks: list[Network] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            if "/" in entry:
                networks.append(ip_network(entry))
            elif any(mark in entry for mark in "*@% "):
                raise ValueError(f"{entry!r} is not a host, host:port or network")
            else:
                names.add(entry)
        return cls(frozenset(names), tuple(networks))

    def allows_host(self, host: str, port: int) -> bool:
        """Whether the host as the URL names it is listed, alone or with this port."""
        bracketed = f"[{host}]" if ":" in host else host
        return bool(self.names & {host, bracketed, f"{bracketed}:{port}"})

    def allows_address(self, address: str) -> bool:
        """Whether an address lies in a listed network."""
        if "%" in address or not self.networks:
            return False
        parsed = ip_address(address)
        return any(parsed.version == network.version and parsed in network for network in self.networks)
