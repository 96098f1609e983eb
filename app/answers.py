"""Answers in hand: what was bought for a job and is not in the platform's rows yet.

They are described only when a claim is put down, so that they cost nothing where they are written at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg2 import Binary
from psycopg2.extras import Json
from pydantic import TypeAdapter, ValidationError

from app.calls import Call
from app.errors import GiveUp

Value = TypeVar("Value")

#: What JSON may hold and jsonb may not: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Kept:
    """Answers as worker.kept_answers has them: lists by the name of their type.

    `content` is the bytes of the medium among them, if there is one.
    """

    answers: dict[str, list[Any]]
    content: bytes | None = None


class Hand:
    """What one attempt has in hand. Copies of its claim share it; threads that help the attempt may use it.

    `kept_seconds` is how long ago an earlier attempt kept what this one began with.
    """

    def __init__(self, kept: Kept | None = None, kept_seconds: float = 0.0) -> None:
        self.kept_seconds = kept_seconds
        self._kept = dict(kept.answers) if kept else {}
        self._content = kept.content if kept else None
        self._held: list[tuple[object, list[Call]]] = []
        self._guard = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._held or self._kept)

    def hold(self, value: object, *, content: bytes | None = None, calls: Iterable[Call] = ()) -> None:
        """Have this in hand from now on: a dataclass or model that reads like JSON, and bytes beside it.

        `calls` are those that it took, as far as they are not the claim's own.
        """
        with self._guard:
            self._held.append((value, list(calls)))
            self._content = content or self._content

    @contextmanager
    def holding(self, value: object, calls: Iterable[Call] = ()) -> Iterator[None]:
        """Have this in hand until the block has written it; an error leaves it there."""
        self.hold(value, calls=calls)
        yield
        with self._guard:
            self._held = [entry for entry in self._held if entry[0] is not value]

    def take(self, wanted: type[Value]) -> list[Value]:
        """What an earlier attempt kept of that type; it stays in hand.

        Raises `GiveUp` where it can't be read.
        """
        with self._guard:
            found = self._kept.get(wanted.__name__, [])
        try:
            return TypeAdapter(list[wanted]).validate_python(found)  # type: ignore[valid-type]
        except ValidationError:
            raise GiveUp("worker.kept_answer_unreadable", "the answer that was kept can't be read") from None

    def take_one(self, wanted: type[Value]) -> Value | None:
        """The only thing of that type which an earlier attempt kept, if there is one."""
        return next(iter(self.take(wanted)), None)

    def drop(self, wanted: type[object] | None = None) -> None:
        """Let go of what is written or useless: everything, or what an earlier attempt kept of a type."""
        with self._guard:
            if wanted is not None:
                self._kept.pop(wanted.__name__, None)
                return
            self._held, self._kept, self._content = [], {}, None

    def kept(self) -> Kept | None:
        """Everything as it is to be kept, or None with empty hands."""
        with self._guard:
            if not (self._held or self._kept):
                return None
            answers = {name: list(found) for name, found in self._kept.items()}
            for value, _ in self._held:
                described = TypeAdapter(type(value)).dump_python(value, mode="json")
                answers.setdefault(type(value).__name__, []).append(_storable(described))
            return Kept(answers, self._content)

    @property
    def content(self) -> bytes | None:
        """The bytes of the medium in hand."""
        return self._content

    @property
    def calls(self) -> list[Call]:
        """The calls that are to be written down with what is in hand."""
        with self._guard:
            return [call for _, calls in self._held for call in calls]


def hand_of(row: dict[str, Any]) -> Hand:
    """What an earlier attempt kept of a job, as worker.open_claim tells it."""
    if row["answer"] is None:
        return Hand()
    return Hand(Kept(row["answer"], row["content"] and bytes(row["content"])), row["kept_seconds"])


def columns_of(kept: Kept | None) -> tuple[Json | None, Any]:
    """Answers as the columns `answer` and `content`."""
    if kept is None:
        return None, None
    return Json(kept.answers), None if kept.content is None else Binary(kept.content)


def _storable(value: Any) -> Any:
    """The same value with the replacement character for what jsonb refuses."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value
