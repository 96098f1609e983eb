"""Few threads of a process hold a large response at a time; the others wait for their place."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from app.http import large_responses
from app.http.deadline import total_deadline
from app.providers.transport import http_client

LARGE = large_responses.SMALL_BYTES + 1


@contextmanager
def sender(size_bytes: int, connections: int) -> Iterator[str]:
    """A server that answers each of so many connections with a body of that size."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\nConnection: close\r\n\r\n".encode()

    def answer() -> None:
        for _ in range(connections):
            accepted, _ = listener.accept()
            threading.Thread(target=send, args=(accepted,), daemon=True).start()

    def send(accepted: socket.socket) -> None:
        with accepted:
            accepted.recv(65_536)
            accepted.sendall(head + b"x" * size_bytes)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


class Readers:
    """Threads that get a URL and hold what came until they are let go."""

    def __init__(self, url: str, count: int) -> None:
        self.holding = threading.Semaphore(0)
        self.let_go = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(url,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _read(self, url: str) -> None:
        with total_deadline(30):
            http_client().get(url, timeout=30)
            self.holding.release()
            assert self.let_go.wait(30)

    def join(self) -> None:
        self.let_go.set()
        for thread in self._threads:
            thread.join(30)


def test_one_more_waits_until_a_place_is_free() -> None:
    places = large_responses.PLACES
    with sender(LARGE, places + 1) as url:
        readers = Readers(url, places + 1)
        for _ in range(places):
            assert readers.holding.acquire(timeout=30)
        assert not readers.holding.acquire(timeout=0.2)
        readers.let_go.set()
        assert readers.holding.acquire(timeout=30)
        readers.join()


def test_who_gets_no_place_within_the_deadline_has_timed_out_and_holds_none() -> None:
    places = large_responses.PLACES
    with sender(LARGE, places + 2) as url:
        readers = Readers(url, places)
        for _ in range(places):
            assert readers.holding.acquire(timeout=30)
        with total_deadline(0.3), pytest.raises(httpx2.ReadTimeout):
            http_client().get(url, timeout=30)
        readers.join()
        with total_deadline(30):
            assert len(http_client().get(url, timeout=30).content) == LARGE


def test_small_responses_need_no_place() -> None:
    places = large_responses.PLACES
    with sender(1000, 3 * places) as url:
        readers = Readers(url, 3 * places)
        for _ in range(3 * places):
            assert readers.holding.acquire(timeout=30)
        readers.join()
