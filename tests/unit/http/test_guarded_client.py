"""What the guarded client sends and takes in, on real sockets."""

from __future__ import annotations

import gzip
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http import AllowList, GuardedClient, OutboundFailedError, OutboundRefusedError
from app.local.receiver import Receiver
from tests.unit.http.doubles import Dialler, HostileResolver

PUBLIC = "1.1.1.1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def client() -> GuardedClient:
    return GuardedClient(AllowList.parse("127.0.0.0/8"))


def answering(text: str) -> GuardedClient:
    """A client whose every connection gets this answer; `http` is allowed to one host."""
    return GuardedClient(
        AllowList.parse("origin.example"),
        resolve=HostileResolver([PUBLIC]),
        dialler=Dialler(text.replace("\n", "\r\n").encode()),
    )


def test_a_request_arrives_as_it_was_meant(receiver: Receiver, client: GuardedClient) -> None:
    response = client.request("post", receiver.url("/a?b=c"), headers={"X-Own": "1"}, body=b"hello")
    (request,) = receiver.requests
    assert (response.status, request.method, request.path, request.body) == (204, "POST", "/a?b=c", b"hello")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (request.headers["x-own"], request.headers["accept-encoding"]) == ("1", "identity")


def test_the_environment_plays_no_part(
    receiver: Receiver, client: GuardedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert client.request("GET", receiver.url()).status == 204


def test_of_an_endless_response_only_the_limit_is_read(receiver: Receiver, client: GuardedClient) -> None:
    receiver.behave("/", "ok-huge")
    response = client.request("GET", receiver.url())
    assert (len(response.body), response.is_truncated, response.status) == (64 * 1024, True, 200)
    assert len(client.request("GET", receiver.url(), max_response_bytes=10).body) == 10


@pytest.mark.parametrize("scenario", ["hang", "drip"])
def test_everything_ends_at_the_deadline(scenario: str, receiver: Receiver, client: GuardedClient) -> None:
    receiver.behave("/", scenario)
    began = time.monotonic()
    with pytest.raises(OutboundFailedError, match=r"http\.timeout"):
        client.request("GET", receiver.url(), deadline_seconds=0.4)
    assert time.monotonic() - began > 0.35


def test_a_lookup_that_hangs_ends_at_the_deadline_too() -> None:
    released = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        released.wait(10)
        return [PUBLIC]

    try:
        with pytest.raises(OutboundFailedError, match=r"http\.timeout"):
            GuardedClient(resolve=resolve).request("GET", "https://slow.example/", deadline_seconds=0.2)
    finally:
        released.set()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/", "http.connect_failed"),
        ("{receiver}/reset", "http.broken_response"),
        ("https://{authority}/", "http.tls_failed"),
    ],
)
def test_what_breaks_has_a_code(url: str, code: str, receiver: Receiver, client: GuardedClient) -> None:
    receiver.behave("/reset", "reset")
    url = url.format(receiver=f"http://127.0.0.1:{receiver.port}", authority=f"127.0.0.1:{receiver.port}")
    with pytest.raises(OutboundFailedError) as raised:
        client.request("GET", url)
    assert raised.value.code == code


def test_a_name_that_is_unknown_has_a_code() -> None:
    for resolver in (HostileResolver([]), _unknown):
        with pytest.raises(OutboundFailedError, match=r"http\.host_unresolved"):
            GuardedClient(resolve=resolver).request("GET", "https://nobody.example/")


def _unknown(host: str, port: int) -> Sequence[str]:
    raise OSError("unknown")


def test_a_redirect_is_returned_and_not_followed(receiver: Receiver, client: GuardedClient) -> None:
    receiver.behave("/here", "redirect")
    assert client.request("GET", receiver.url("/here")).status == 302
    assert client.request("POST", receiver.url("/here"), same_host_redirects=3).status == 302
    assert [request.path for request in receiver.requests] == ["/here", "/here"]


def test_a_redirect_on_the_same_host_is_followed_where_that_is_wanted(
    receiver: Receiver, client: GuardedClient
) -> None:
    receiver.behave("/here", "redirect")
    response = client.request("GET", receiver.url("/here"), same_host_redirects=1)
    assert (response.status, response.url) == (204, receiver.url("/elsewhere"))


def test_redirects_are_not_followed_for_ever(receiver: Receiver, client: GuardedClient) -> None:
    receiver.behave("/elsewhere", "redirect")
    assert client.request("GET", receiver.url("/elsewhere"), same_host_redirects=3).status == 302
    assert len(receiver.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://origin.example/",
        "http://origin.example:81/",
        "http://sub.origin.example/",
        "//evil.example/",
        "http://origin.example@evil.example/",
        "http://user@origin.example/",
        "file:///etc/passwd",
        "http://[::1]/",
        "http://[",
        "\\\\evil.example\\",
        "http://origin.example./",
    ],
)
def test_a_redirect_never_leaves_its_origin(location: str) -> None:
    client = answering(f"HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0\n\n")
    response = client.request("GET", "http://origin.example/", same_host_redirects=5)
    assert (response.status, response.url) == (302, "http://origin.example/")


@pytest.mark.parametrize(
    "answer",
    [
        "garbage\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\nx",
        "HTTP/1.1 200 OK\nContent-Length: 100\n\nshort",
        f"HTTP/1.1 200 OK\nX-Long: {'x' * 200_000}\n\n",
        "HTTP/1.1 9999 Odd\n\n",
        "",
    ],
)
def test_a_garbled_response_is_a_failure(answer: str) -> None:
    with pytest.raises(OutboundFailedError, match=r"http\.broken_response"):
        answering(answer).request("GET", "http://origin.example/")


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "zstd", ""])
def test_what_is_not_packed_as_its_header_says_is_left_as_it_is(encoding: str) -> None:
    client = answering(f"HTTP/1.1 200 OK\nContent-Encoding: {encoding}\nContent-Length: 4\n\nBOMB")
    response = client.request("GET", "http://origin.example/")
    assert (response.body, response.headers["content-encoding"]) == (b"BOMB", encoding)


def packed(encoding: str, body: bytes) -> GuardedClient:
    """A client whose server packs what it was asked not to pack."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return GuardedClient(
        AllowList.parse("origin.example"),
        resolve=HostileResolver([PUBLIC]),
        dialler=Dialler(head.encode() + body),
    )


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b'{"a": 1}')),
        ("X-Gzip", gzip.compress(b'{"a": 1}')),
        ("gzip", gzip.compress(b'{"a"') + gzip.compress(b": 1}")),
        ("gzip", gzip.compress(b'{"a": 1}') + b"trailing"),
        ("deflate", zlib.compress(b'{"a": 1}')),
        ("deflate", zlib.compress(b'{"a": 1}', wbits=-15)),
    ],
    ids=["gzip", "x-gzip", "two members", "trailing bytes", "zlib", "bare deflate"],
)
def test_what_comes_packed_although_that_was_declined_is_unpacked(encoding: str, body: bytes) -> None:
    response = packed(encoding, body).request("GET", "http://origin.example/")
    assert (response.body, response.is_truncated) == (b'{"a": 1}', False)
    assert not {"content-encoding", "content-length"} & response.headers.keys()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_unpacked_up_to_the_limit_only(layers: int) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    bomb = bomb if layers == 1 else gzip.compress(bomb)
    tracemalloc.start()
    try:
        response = packed("gzip", bomb).request("GET", "http://origin.example/", max_response_bytes=10_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(response.body) <= 10_000, response.is_truncated or layers == 2) == (True, True)
    assert peak_bytes < 5_000_000


def test_no_more_is_taken_off_the_wire_than_the_limit() -> None:
    empty = gzip.compress(b"") * 20_000
    response = packed("gzip", empty).request("GET", "http://origin.example/", max_response_bytes=1_000)
    assert (response.body, response.is_truncated) == (b"", True)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"x" * 1000)[:-12], gzip.compress(b"x" * 1000)[:12] + b"?" * 20],
    ids=["cut", "torn"],
)
def test_a_packed_body_that_is_damaged_is_a_broken_response(body: bytes) -> None:
    with pytest.raises(OutboundFailedError, match=r"http\.broken_response: the compressed body"):
        packed("gzip", body).request("GET", "http://origin.example/")


@given(st.binary(max_size=2_000), st.integers(1, 2_500))
def test_packed_or_not_the_same_is_read(content: bytes, most_bytes: int) -> None:
    response = packed("gzip", gzip.compress(content)).request(
        "GET", "http://origin.example/", max_response_bytes=most_bytes
    )
    assert content.startswith(response.body)
    assert response.is_truncated or response.body == content


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\nX-B: 2"},
        {"X-A": "\x00"},
        {"X-A": "ü"},
        {"X A": "1"},
        {"X-A\r\nX-B": "1"},
        {"": "1"},
        {"X-A:": "1"},
        {"Host": "evil.example"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"X-Long": "x" * 20_000},
    ],
    ids=repr,
)
def test_headers_that_could_smuggle_are_refused(headers: dict[str, str]) -> None:
    dialler = Dialler()
    with pytest.raises(OutboundRefusedError, match=r"http\.refused_header"):
        GuardedClient(resolve=HostileResolver([PUBLIC]), dialler=dialler).request(
            "GET", "https://example.com/", headers=headers
        )
    assert dialler.dialled == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /", "POST\r\nX: y", "", "BREW"])
def test_methods_that_nobody_needs_are_refused(method: str) -> None:
    with pytest.raises(OutboundRefusedError, match=r"http\.refused_method"):
        GuardedClient().request(method, "https://example.com/")


@given(name=st.text(min_size=1, max_size=20), value=st.text(max_size=40))
def test_no_header_makes_a_second_line(name: str, value: str) -> None:
    dialler = Dialler(b"HTTP/1.1 204 No Content\r\n\r\n")
    client = GuardedClient(AllowList.parse("a.example"), resolve=HostileResolver([PUBLIC]), dialler=dialler)
    try:
        client.request("GET", "http://a.example/", headers={name: value})
    except OutboundRefusedError:
        return
    assert not set(name + value) & set("\r\n\x00")


def test_no_error_quotes_what_may_be_secret() -> None:
    with pytest.raises(OutboundRefusedError) as raised:
        GuardedClient().request("GET", "https://user:hunter2secret@example.com/token-abc123")
    assert "hunter2secret" not in repr(raised.value)
    assert "token-abc123" not in repr(raised.value)
