"""Where the guarded client goes, with a resolver that is against it and a dialler that tells on it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http import AllowList, GuardedClient, OutboundFailedError, OutboundRefusedError
from app.http.addresses import refusal_of
from app.http.target import read_target
from tests.unit.http.destinations import ACCEPTED_URLS, PUBLIC_ADDRESSES, REFUSED_ADDRESSES, REFUSED_URLS
from tests.unit.http.doubles import Dialler, HostileResolver

PUBLIC = "1.1.1.1"


def dialled_for(url: str, *answers: list[str], allowed: str = "") -> list[str]:
    """The addresses that a request to a URL dials."""
    dialler = Dialler()
    client = GuardedClient(
        AllowList.parse(allowed), resolve=HostileResolver(*answers or ([PUBLIC],)), dialler=dialler
    )
    with pytest.raises((OutboundRefusedError, OutboundFailedError)):
        client.request("POST", url)
    return [address for address, _ in dialler.dialled]


def test_there_are_enough_cases() -> None:
    cases = [*REFUSED_ADDRESSES, *REFUSED_URLS]
    assert len(set(cases)) == len(cases) >= 200


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_name_that_leads_to_a_refused_address_is_not_dialled(address: str) -> None:
    assert dialled_for("https://innocent.example/", [address]) == []
    assert dialled_for("https://innocent.example/", [PUBLIC, address]) == []
    assert dialled_for("https://innocent.example/", [address, PUBLIC]) == []


@pytest.mark.parametrize("address", [each for each in REFUSED_ADDRESSES if "%" not in each])
def test_a_refused_address_in_the_url_is_not_dialled(address: str) -> None:
    for scheme in ("http", "https"):
        assert dialled_for(f"{scheme}://{f'[{address}]' if ':' in address else address}:8443/") == []


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_dialled(address: str) -> None:
    assert dialled_for("https://innocent.example/", [address]) == [address]
    host = f"[{address}]" if ":" in address else address
    assert dialled_for(f"https://{host}/") == [str(read_target(f"https://{host}/").host)]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    assert dialled_for(url) == []
    with pytest.raises(OutboundRefusedError, match=r"http\.refused_url"):
        read_target(url)


@pytest.mark.parametrize(("url", "host", "port"), ACCEPTED_URLS)
def test_an_honest_url_is_read_as_it_is_meant(url: str, host: str, port: int) -> None:
    target = read_target(url)
    assert (target.host, target.port) == (host, port)
    assert read_target(target.url) == target


def test_a_name_is_asked_for_once_and_its_first_answer_is_dialled() -> None:
    resolver, dialler = HostileResolver([PUBLIC], ["127.0.0.1"]), Dialler()
    with pytest.raises(OutboundFailedError):
        GuardedClient(resolve=resolver, dialler=dialler).request("GET", "https://rebinding.example/")
    assert resolver.asked == ["rebinding.example"]
    assert dialler.dialled == [(PUBLIC, 443)]


def test_all_addresses_of_a_host_are_tried_in_turn() -> None:
    assert dialled_for("https://two.example/", ["1.1.1.1", "2606:4700::1111"]) == [
        "1.1.1.1",
        "2606:4700::1111",
    ]


@pytest.mark.parametrize(
    ("allowed", "url", "answer", "is_dialled"),
    [
        ("localhost", "http://localhost:9/", ["127.0.0.1"], True),
        ("localhost:9", "http://localhost:9/", ["127.0.0.1"], True),
        ("localhost:9", "http://localhost:10/", ["127.0.0.1"], False),
        ("127.0.0.1:9", "http://127.0.0.1:9/", [], True),
        ("127.0.0.0/8", "http://127.9.9.9/", [], True),
        ("127.0.0.0/8", "http://app.example/", ["127.0.0.1"], True),
        ("127.0.0.0/8", "http://app.example/", ["127.0.0.1", "10.0.0.1"], False),
        ("127.0.0.0/8", "https://app.example/", ["127.0.0.1", PUBLIC], True),
        ("127.0.0.0/8", "http://app.example/", ["127.0.0.1", PUBLIC], False),
        ("127.0.0.0/8", "http://[::1]/", [], False),
        ("[::1]:80", "http://[::1]/", [], True),
        ("::1/128", "http://[0:0::1]/", [], True),
        ("fe80::/10", "http://app.example/", ["fe80::1%eth0"], False),
        ("example.com", "http://example.com/", [PUBLIC], True),
        ("example.com", "http://sub.example.com/", [PUBLIC], False),
        ("", "http://example.com/", [PUBLIC], False),
    ],
)
def test_only_what_a_deployer_allows_may_be_private_or_plain(
    allowed: str, url: str, answer: list[str], is_dialled: bool
) -> None:
    assert bool(dialled_for(url, answer, allowed=allowed)) is is_dialled


@pytest.mark.parametrize("text", ["*.example.com", "user@host", "10.0.0.0/33", "fe80::1%eth0", "10.0.0.1/8"])
def test_an_allow_list_that_can_not_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AllowList.parse(text)


@given(st.integers(0, 2**32 - 1))
def test_python_calls_private_is_never_allowed(number: int) -> None:
    address = IPv4Address(number)
    if not address.is_global or address.is_multicast:
        assert refusal_of(str(address))


@given(st.integers(0, 2**128 - 1))
def test_outside_of_global_unicast_nothing_is_allowed(number: int) -> None:
    address = IPv6Address(number)
    if number >> 125 != 1 or not address.is_global:
        assert refusal_of(str(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}"]))
def test_an_embedded_address_never_gets_through(inner: IPv4Address, form: str) -> None:
    assert refusal_of(form.format(inner))


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        target = read_target(f"https://{text}")
    except OutboundRefusedError:
        return
    assert target.host.isascii()
    assert target.host == target.host.lower()
    assert read_target(target.url) == target
