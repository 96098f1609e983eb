"""Questions that many ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.together import Together

PATIENCE_SECONDS = 10.0


class Oracle:
    """Answers which question it was asked, once it may."""

    def __init__(self, fails_at: int = 0) -> None:
        self.asked = 0
        self.fails_at = fails_at
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        self.is_asked.set()
        assert self.may_answer.wait(PATIENCE_SECONDS)
        if number == self.fails_at:
            raise LookupError(f"question {number}")
        return number


def ask_during_a_question(oracle: Oracle, askers: int) -> tuple[Future[int], list[Future[int]]]:
    """Have one ask, and others before that question is answered."""
    together = Together(oracle)
    with ThreadPoolExecutor(askers + 1) as threads:
        first = threads.submit(together)
        assert oracle.is_asked.wait(PATIENCE_SECONDS)
        later = [threads.submit(together) for _ in range(askers)]
        until = time.monotonic() + PATIENCE_SECONDS
        while together.waiting < askers and time.monotonic() < until:
            time.sleep(0.001)
        oracle.may_answer.set()
    return first, later


def test_who_comes_during_a_question_shares_the_answer_to_the_next() -> None:
    oracle = Oracle()
    first, later = ask_during_a_question(oracle, 8)
    assert first.result() == 1
    assert [one.result() for one in later] == [2] * 8
    assert oracle.asked == 2


def test_an_error_goes_to_those_who_share_the_question_only() -> None:
    first, later = ask_during_a_question(Oracle(fails_at=2), 4)
    assert first.result() == 1
    for one in later:
        with pytest.raises(LookupError, match="question 2"):
            one.result()


def test_nothing_is_remembered() -> None:
    oracle = Oracle(fails_at=1)
    oracle.may_answer.set()
    together = Together(oracle)
    with pytest.raises(LookupError):
        together()
    assert [together(), together()] == [2, 3]
