"""Looks a host up once, within a time limit, and lets none but permitted addresses through."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from app.http.addresses import refusal_of
from app.http.allow_list import AllowList
from app.http.failures import OutboundFailedError, OutboundRefusedError
from app.http.target import Target

#: Gives the addresses of a host name, in the order to try them.
Resolver = Callable[[str, int], Sequence[str]]


def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the operating system's resolver knows about a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def permitted_addresses(
    target: Target, allowed: AllowList, resolve: Resolver, *, within_seconds: float
) -> Sequence[str]:
    """The addresses to dial for a target; nobody may look the name up again after this.

    One refused address among several refuses the host: a name that points inside is not to be trusted.
    Raises `OutboundRefusedError`, or `OutboundFailedError` when the name can't be resolved in time.
    """
    addresses = [target.host] if target.is_address else _look_up(target, resolve, within_seconds)
    _refuse(target, addresses, allowed)
    return addresses


def refuse_early(target: Target, allowed: AllowList) -> None:
    """Refuse, without looking a name up, what `permitted_addresses` would refuse whatever it finds."""
    if target.is_address:
        _refuse(target, [target.host], allowed)
    elif not allowed.networks:
        _refuse(target, [], allowed)


def _refuse(target: Target, addresses: Sequence[str], allowed: AllowList) -> None:
    by_address = bool(addresses) and all(allowed.allows_address(address) for address in addresses)
    if by_address or allowed.allows_host(target.host, target.port):
        return
    for address in addresses:
        reason = refusal_of(address)
        if reason and not allowed.allows_address(address):
            raise OutboundRefusedError("http.refused_address", f"the host leads to a {reason} address")
    if target.scheme != "https":
        raise OutboundRefusedError(
            "http.refused_url", "the URL is refused: only https is spoken with this host"
        )


def _look_up(target: Target, resolve: Resolver, within_seconds: float) -> Sequence[str]:
    """Ask in a thread of its own: a lookup can't be interrupted, so one that hangs is left behind."""
    answer: list[Sequence[str]] = []
    failure: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answer.append(resolve(target.host, target.port))
        except (OSError, UnicodeError) as error:
            failure.append(error)

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(max(within_seconds, 0.0))
    if thread.is_alive():
        raise OutboundFailedError("http.timeout", "the host name was not resolved in time", is_unsent=True)
    if failure or not answer[0]:
        raise OutboundFailedError("http.host_unresolved", "the host name can't be resolved", is_unsent=True)
    return answer[0]
