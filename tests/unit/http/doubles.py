"""A resolver that answers as it is told, and a dialler that only notes what it was asked to dial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2


class HostileResolver:
    """Gives one answer after the other, and the last one for ever; notes what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Dialler(httpcore2.NetworkBackend):
    """Dials nothing. With `answer` every connection says that; else it is refused."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.dialled: list[tuple[str, int]] = []
        self._answer = answer

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        self.dialled.append((host, port))
        if self._answer is None:
            raise httpcore2.ConnectError("nobody is there")
        pieces = [self._answer[start : start + 50_000] for start in range(0, len(self._answer), 50_000)]
        return httpcore2.MockStream(pieces)
