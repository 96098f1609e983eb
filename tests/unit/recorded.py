"""A database and a clock that note what is asked of them, for rules that need no server and no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import pytest
from psycopg2.extensions import cursor

from app.database import Database

Answer = list[dict[str, Any]] | Exception


def stop_clock(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[float]:
    """Have a module's clock stand still but for naps; returns those, in seconds, as they are taken."""
    naps: list[float] = []

    class Clock:
        monotonic = staticmethod(lambda: 100.0 + sum(naps))
        sleep = staticmethod(naps.append)

    monkeypatch.setattr(module, "time", Clock)
    return naps


class RecordedDatabase(Database):
    """Each statement takes the next answer; an exception among them is raised."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []
        self.ended: list[str] = []

    def call(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        self.asked.append((" ".join(statement.split()), parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def transaction(self) -> Iterator[cursor]:
        try:
            yield cast(cursor, _Transaction(self))
        except BaseException:
            self.ended.append("rolled back")
            raise
        self.ended.append("committed")


class _Transaction:
    def __init__(self, database: RecordedDatabase) -> None:
        self._database = database
        self._rows: list[dict[str, Any]] = []

    def execute(self, statement: str, parameters: Any = None) -> None:
        self._rows = self._database.call(statement, parameters)

    def fetchone(self) -> dict[str, Any] | None:
        return self._rows.pop(0) if self._rows else None
