"""What people paste into fields, and what they mean by it; each right value is written by hand."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http import OutboundRefusedError, read_target
from app.mail import MailRefusedError, read_addresses
from app.texts.pasted import pasted_name, pasted_url, split_addresses

URL = "https://example.org/a?b=c"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"  {URL}\n", URL),
        (f"\ufeff{URL}\u200b", URL),
        (f"\xa0{URL}\xa0", URL),
        ("https://exam\u200bple.org/\u00ada?b=c", URL),
        (f"<{URL}>", URL),
        (f"<URL:{URL}>", URL),
        (f'"{URL}"', URL),
        (f"“{URL}”", URL),
        (f"„{URL}“", URL),
        (f"'<{URL}>'", URL),
        (f"`{URL}`", URL),
        (f"[the page]({URL})", URL),
        (f"[{URL}]({URL})", URL),
        (f'[x](<{URL}> "a title")', URL),
        (f"<{URL}|the page>", URL),
        ("https://example.org/\n    a?b=c", URL),
        ("example.org/a?b=c", URL),
        ("//example.org/a?b=c", URL),
        ("www.example.org", "https://www.example.org"),
        ("example.org:8443/x", "https://example.org:8443/x"),
        ("HTTPS://Example.org/", "HTTPS://Example.org/"),
        ("http://example.org/", "http://example.org/"),
        ("https://example.org/?a=1&amp;b=2", "https://example.org/?a=1&b=2"),
        ("https://example.org/a b?q=ä|{x}", "https://example.org/a%20b?q=%C3%A4%7C%7Bx%7D"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),
        ("https://Müller.example/straße", "https://xn--mller-kva.example/stra%C3%9Fe"),
        ("https://müller.example:8443/", "https://xn--mller-kva.example:8443/"),
        ("https://例え.jp", "https://xn--r8jz45g.jp"),
        ("feed://example.org/rss", "https://example.org/rss"),
        ("feed:https://example.org/rss", "https://example.org/rss"),
        ("https://{{host}}/{{ id }}", "https://{{host}}/{{ id }}"),
        ("example.org/{{ id }}", "https://example.org/{{ id }}"),
        ("<{{url}}>", "{{url}}"),
        ("{{node.url}}/x", "{{node.url}}/x"),
        ("[[node.url]]", "[[node.url]]"),
    ],
)
def test_a_url_is_what_was_meant(text: str, url: str) -> None:
    assert pasted_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no url",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://example.org/",
        "mailto:ada@example.org",
        "https://ada@example.org/",
        "ada@example.org/x",
        "https://example.org\\@evil.example/",
        "https://example.org\r\nHost: evil.example",
        "https://example.org/\x00",
        "https://℀.example/",
        "https://１２７.0.0.1.5/",
        "https://0x7f.1/",
        "https://[::1%25eth0]/",
        "<https://a.example> <https://b.example>",
        "https://a.example https://b.example@c.example",
        "https://xn--\u2488.example/",
    ],
)
def test_what_is_no_url_or_more_than_one_stays_refused(text: str) -> None:
    try:
        target = read_target(pasted_url(text))
    except OutboundRefusedError:
        return
    assert target.host in ("a.example", "example.org"), "it leads where it was written to lead"
    assert text.startswith(f"https://{target.host}")


def test_digits_of_any_script_are_read_before_the_guard_judges_them() -> None:
    assert read_target(pasted_url("https://１２７.0.0.1/")).host == "127.0.0.1"


@given(st.text("https:/examplorg.[](){}<>|\"'`“” \n\t@\\%ä\u200b?&#;", max_size=40))
def test_any_text_can_be_read_and_reading_again_changes_nothing(text: str) -> None:
    once = pasted_url(text)
    try:
        target = read_target(once)
    except OutboundRefusedError:
        return
    assert read_target(pasted_url(once)) == target


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("ada@example.org", ["ada@example.org"]),
        (" ada@example.org\u200b ", ["ada@example.org"]),
        ("Ada <ada@example.org>", ["ada@example.org"]),
        ("Ada<ada@example.org>", ["ada@example.org"]),
        ("< ada@example.org >", ["ada@example.org"]),
        ('"Lovelace, Ada" <ada@example.org>, grace@example.org', ["ada@example.org", "grace@example.org"]),
        ('"Ada \\"A\\" L: x" <ada@example.org>', ["ada@example.org"]),
        ("“Lovelace, Ada” <ada@example.org>", ["ada@example.org"]),
        ('"Ada <ada@example.org>"', ["ada@example.org"]),
        ("ada@example.org <ada@example.org>", ["ada@example.org"]),
        ("mailto:ada@example.org?subject=Hi", ["ada@example.org"]),
        ("MAILTO:ada%2Bx@example.org", ["ada+x@example.org"]),
        ("[Ada](mailto:ada@example.org)", ["ada@example.org"]),
        ("<mailto:ada@example.org|Ada>", ["ada@example.org"]),
        ("'ada@example.org'", ["ada@example.org"]),
        ("“ada@example.org”", ["ada@example.org"]),
        ("ada@example.org (Ada)", ["ada@example.org"]),
        ("ada@example.org.", ["ada@example.org"]),
        ("ada@example.org; grace@example.org;", ["ada@example.org", "grace@example.org"]),
        ("ada@example.org\ngrace@example.org\n", ["ada@example.org", "grace@example.org"]),
        ("ada@example.org grace@example.org", ["ada@example.org", "grace@example.org"]),
        ("Ada <ada@example.org>; Grace <grace@example.org>", ["ada@example.org", "grace@example.org"]),
        ("ada@example.org, ada@example.org", ["ada@example.org"]),
        ("ada@müller.example", ["ada@xn--mller-kva.example"]),
        ("", []),
    ],
)
def test_addresses_are_what_was_meant(text: str, addresses: list[str]) -> None:
    assert read_addresses(split_addresses(text)) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "ada",
        "ada@",
        "Team: ada@example.org, eve@evil.example;",
        "Team: Ada <ada@example.org>;",
        "undisclosed-recipients:;",
        "ada@example.org\r\nBcc: eve@evil.example",
        "mailto:ada@example.org%0d%0aBcc:eve@evil.example",
        "mailto:ada%40example.org%0aeve@evil.example",
        "Ada\x00 <ada@example.org>",
        "<ada@exam\x0bple.org>",
        "Ada <ada@example.org> <eve@evil.example>",
        "ada@example.org@evil.example",
        "ädä@example.org",
        "ada @example.org",
        "ada@exa mple.org",
        "a" * 10_000 + "@example.org",
    ],
)
def test_what_is_no_address_is_refused_and_no_header_is_injected(text: str) -> None:
    with pytest.raises(MailRefusedError):
        read_addresses(split_addresses(text))


@given(st.text('ada@b.c<>"“”,;:\r\n\t ()\\mailto?%0d\x00', max_size=40))
def test_no_address_ever_has_what_ends_a_header(text: str) -> None:
    try:
        found = read_addresses(split_addresses(text))
    except MailRefusedError:
        return
    assert all(each.isprintable() and not set(each) & set(' <>,;:"\\()') for each in found)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" #general ", "#general"),
        ('"general"', "general"),
        ("“general”", "general"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("\ufeff#general\u200b", "#general"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_a_name_is_what_was_meant(text: str, name: str) -> None:
    assert pasted_name(text) == name


@pytest.mark.parametrize("piece", ['"', '"\\"', "“", "<", " ", "a ", "(", "[", "a@b ", "\t", "{{", "a."])
def test_hostile_texts_take_no_longer_than_they_are_long(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    pasted_url(text)
    pasted_url(text[:8_000])
    pasted_name(text)
    for entry in split_addresses(text)[:10]:
        read_addresses_or_not(entry)
    assert time.process_time() - began < 5


def read_addresses_or_not(entry: str) -> None:
    try:
        read_addresses([entry])
    except MailRefusedError:
        return
