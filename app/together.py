"""Ask a question once for all who ask it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Together(Generic[Value]):
    """Puts one question at a time; those who come meanwhile share the next answer.

    Nobody gets an answer to a question that was put before he came, so none is out of date. Nothing is
    remembered, and an error goes to all who would have shared the answer.
    """

    def __init__(self, ask: Callable[[], Value]) -> None:
        self._ask = ask
        self._next: Future[Value] | None = None
        self._waiting = 0
        self._guard = threading.Lock()
        self._turn = threading.Lock()

    def __call__(self) -> Value:
        """The answer; raises whatever asking raises."""
        with self._guard:
            is_first = self._next is None
            answer = self._next = self._next or Future()
            self._waiting += 1
        if is_first:
            with self._turn:
                self._put(answer)
        return answer.result()

    @property
    def waiting(self) -> int:
        """How many wait for a question that is not put yet."""
        return self._waiting

    def _put(self, answer: Future[Value]) -> None:
        with self._guard:
            self._next, self._waiting = None, 0
        try:
            answer.set_result(self._ask())
        except BaseException as error:
            answer.set_exception(error)
