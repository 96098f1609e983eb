"""The queue between consumers and threads: first in, first out, nothing lost, nobody left waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty

import pytest

from app.broker.work_queue import WorkQueue


def run_together(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_items_come_out_in_the_order_they_went_in() -> None:
    queue = WorkQueue()
    for item in range(5):
        queue.put(item)
    assert [queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(Empty):
        queue.get_nowait()


def test_a_get_ends_in_time_when_nothing_comes() -> None:
    queue = WorkQueue()
    with pytest.raises(Empty):
        queue.get(timeout=0.01)


def test_many_threads_get_every_item_once_and_none_is_left_waiting() -> None:
    queue = WorkQueue()
    count, takers = 20_000, 8
    taken: list[list[int]] = [[] for _ in range(takers)]

    def take(mine: list[int]) -> None:
        while True:
            try:
                item = queue.get(timeout=0.001)
            except Empty:
                continue
            queue.task_done()
            if item < 0:
                return
            mine.append(item)

    def put(start: int) -> None:
        for item in range(start, count, 2):
            queue.put(item)

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    run_together(lambda: put(0), lambda: put(1))
    queue.join()
    for _ in threads:
        queue.put(-1)
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(item for mine in taken for item in mine) == list(range(count))
    assert queue.unfinished_tasks == 0


def test_a_waiting_thread_is_woken_by_the_next_item() -> None:
    queue = WorkQueue()
    got: list[str] = []
    run_together(lambda: got.append(queue.get(timeout=10)), lambda: queue.put("item"))
    assert got == ["item"]
