"""Feeds and files that nodes fetch."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from app.local.services.messengers import Messengers
from app.workflow import Cause, NodeFailure, Output
from tests.integration.nodes.conftest import Make

RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>One &amp; only</title><link>https://n.example/1</link><guid>g1</guid>
<pubDate>Tue, 03 Jun 2025 09:39:21 GMT</pubDate>
<description>&lt;p&gt;Hi&lt;script&gt;x()&lt;/script&gt;&lt;/p&gt;</description></item>
<item><title>Two</title><link>https://n.example/2</link></item></channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>Notes</title><entry><id>a1</id><title>First</title>
<link href="https://n.example/a1"/><updated>2025-06-03T09:39:21Z</updated><author><name>Ada</name></author>
</entry></feed>"""
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def test_a_feeds_items_are_data_and_text(make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/feed", RSS, mime_type="application/rss+xml")
    given = make("rss_feed", feedUrl=url, limit="1").give()
    assert (given["title"], given["count"]) == ("News", 1)
    (item,) = given["items"]  # type: ignore[misc]
    assert item == {
        "id": "g1",
        "title": "One & only",
        "link": "https://n.example/1",
        "summary": "<p>Hi</p>",
        "author": "",
        "publishedAt": "2025-06-03T09:39:21+00:00",
    }
    assert given["output"] == "One & only https://n.example/1"


def test_atom_is_read_as_well(make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/feed", ATOM, mime_type="text/xml")
    (item,) = make("rss_feed", feedUrl=url).give()["items"]  # type: ignore[misc]
    assert (item["id"], item["author"], item["publishedAt"]) == ("a1", "Ada", "2025-06-03T09:39:21+00:00")


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY t SYSTEM "file:///etc/passwd">',
        '<!ENTITY l0 "ha">' + LAUGHS + '<!ENTITY t "&l9;">',
    ],
    ids=["a file of ours", "a billion laughs"],
)
def test_entities_of_a_feeds_own_are_not_expanded(declared: str, make: Make, messengers: Messengers) -> None:
    document = f'<?xml version="1.0"?><!DOCTYPE rss [{declared}]>'.encode() + RSS[21:].replace(
        b"Two", b"[&t;]"
    )
    url = messengers.serve("/feed", document, mime_type="text/xml")
    items = make("rss_feed", feedUrl=url).give()["items"]
    assert [item["title"] for item in items][1] in ("[]", "[&t;]", "[&l9;]")  # type: ignore[index,union-attr]


@pytest.mark.parametrize(
    "content", [b"", b"<html><body>no feed</body></html>", b"\x00\xff" * 50, b"<a>" * 1000], ids=range(4)
)
def test_what_is_no_feed_is_said(content: bytes, make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/feed", content, mime_type="text/html")
    with pytest.raises(NodeFailure, match=r"feed\.unreadable"):
        make("rss_feed", feedUrl=url).give()


@pytest.mark.parametrize("node_type", ["rss_feed", "file_reader"])
@pytest.mark.parametrize(
    ("scenario", "error", "cause"),
    [
        ("404", "status_404", None),
        ("503", "status_503", Cause.PROVIDER_ERROR),
        ("ok-huge", "too_large", None),
        ("reset", "broken_response", Cause.PROVIDER_ERROR),
    ],
)
def test_a_document_that_can_not_be_had_is_said(
    node_type: str, scenario: str, error: str, cause: Cause | None, make: Make, messengers: Messengers
) -> None:
    messengers.script("/doc", [scenario])
    node = make(node_type, url=messengers.url("/doc"), allowedDomains="127.0.0.1")
    with pytest.raises(NodeFailure, match=error) as raised:
        node.give()
    assert raised.value.cause is cause


def test_a_file_is_its_content(make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/a.json", {"a": [1]})
    given = make("file_reader", url=url, allowedDomains=["127.0.0.1"]).give()
    assert (given["content"], given["mimeType"], given["bytes"]) == ({"a": [1]}, "application/json", 10)


def test_a_file_that_is_no_text_is_base64(make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/a.png", b"\x89PNG\x00\xff", mime_type="image/png")
    parent = Output(url=url)
    given = make("file_reader", parent=parent, allowedDomains=["127.0.0.1"]).give()
    assert (given["encoding"], base64.b64decode(str(given["content"]))) == ("base64", b"\x89PNG\x00\xff")


def test_a_file_of_a_domain_that_is_not_allowed_is_not_fetched(make: Make, messengers: Messengers) -> None:
    url = messengers.serve("/a.txt", b"x", mime_type="text/plain")
    with pytest.raises(NodeFailure, match="host_not_allowlisted"):
        make("file_reader", parent=url).give()
    assert messengers.requests == []


@pytest.mark.parametrize(
    ("node_type", "settings", "problem"),
    [
        ("rss_feed", {}, "feedUrl"),
        ("rss_feed", {"feedUrl": "https://127.0.0.2/"}, "loopback"),
        ("rss_feed", {"feedUrl": "https://n.example/", "maxItems": "all"}, "maxItems"),
        ("file_reader", {"url": "https://evil-supabase.co/x"}, "host_not_allowlisted"),
        ("file_reader", {"url": "https://supabase.co.evil.example/x"}, "host_not_allowlisted"),
        ("file_reader", {"url": "https://[::1]/x"}, "unspecified|loopback|not global"),
    ],
)
def test_bad_settings_are_named_before_the_run_starts(
    node_type: str, settings: Any, problem: str, make: Make
) -> None:
    found = make(node_type, **settings).problems
    assert any(word in found for word in problem.split("|"))


@pytest.mark.parametrize("url", ["https://abc.supabase.co/storage/x", "https://lenserfight.com/x"])
def test_files_of_the_platform_are_allowed(url: str, make: Make) -> None:
    assert make("file_reader", url=url).problems == ""
