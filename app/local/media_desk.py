"""Where the local provider server takes orders for media: it keeps the tasks, their progress and the files.

A task goes through the states of its plan, one a poll, and stays in the last. A step of a plan is a state of
`media_progress` or a scenario of `provider_scenarios`, such as `503`. Every order and every poll is
remembered; with them a test counts what would have been paid for.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.local.http.manners import Response
from app.local.media_progress import STATES, Item
from app.local.media_samples import SAMPLES
from app.local.media_wire import MEDIA_WIRES, MediaWire, read_body
from app.local.provider_scenarios import SCENARIOS, spoil
from app.local.provider_wire import Json, key_of

_NOT_FOUND = {"kling": {"code": 1203, "message": "The requested resource does not exist"}}


@dataclass(frozen=True)
class Poll:
    """One question about a task."""

    provider: str
    task_id: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Visit:
    """A request about media, and what to answer in a scenario."""

    provider: str
    model: str
    prompt: str
    key: str = field(repr=False)
    body: Json
    is_submission: bool
    respond: Callable[[str | None], Response]


class MediaDesk:
    """All tasks and files of one local provider server; safe to use from every thread."""

    def __init__(self, root_url: str) -> None:
        self.items: dict[str, Item] = {}
        self.polls: list[Poll] = []
        self.fetches: list[str] = []
        #: The plan of models that have none of their own.
        self.default_plan: Sequence[str] = ("pending", "done")
        #: What the next fetches of a file end in: scenarios, or `ok`.
        self.file_script: list[str] = []
        self._root_url = root_url
        self._plans: dict[str, Sequence[str]] = {}
        self._progress: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()

    def plan(self, model: str, steps: Sequence[str]) -> None:
        """Let every task of a model (by its wire name) go through these steps."""
        unknown = set(steps) - STATES - SCENARIOS
        if unknown:
            raise ValueError(f"no state or scenario is called {', '.join(sorted(unknown))}")
        self._plans[model] = tuple(steps)

    def wait_for_polls(self, count: int, timeout: float = 10.0) -> list[Poll]:
        """Wait until `count` polls have come in all; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.polls) >= count, timeout):
                raise TimeoutError(f"{len(self.polls)} of {count} polls came within {timeout} s")
            return list(self.polls)

    def visit(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Visit | None:
        """What a request is about, or None if it is not about media."""
        key = key_of(headers)
        if method == "GET" and (path.startswith("/files/") or ":download" in path):
            return Visit("files", "", "", key, {}, False, lambda _: self._give_file(path, key))
        for wire in MEDIA_WIRES:
            ordered = wire.submit.fullmatch(path.partition("?")[0]) if method == "POST" else None
            if ordered:
                content = read_body(headers.get("content-type", ""), body)
                return self._order(wire, content, ordered.groupdict().get("model", ""), key)
            asked = wire.poll.fullmatch(path) if method == "GET" and wire.poll else None
            if asked:
                return self._question(wire, asked, key)
        return None

    def _order(self, wire: MediaWire, content: Json, model_in_path: str, key: str) -> Visit:
        model, prompt, reference = wire.read(content, model_in_path)

        def accept(scenario: str | None) -> Response:
            if not key:
                return spoil("bad-key", wire, Response(200, b"{}"), key)
            item = self._make(wire, model, prompt, reference)
            answer = spoil(scenario, wire, wire.accept(item), key)
            # An answer that gets lost on the way leaves a task all the same.
            if answer.status < 300:
                with self._changed:
                    self.items[item.id] = item
            return answer

        return Visit(wire.provider, model, prompt, key, content, True, accept)

    def _question(self, wire: MediaWire, asked: re.Match[str], key: str) -> Visit:
        is_result = wire.provider == "fal" and not asked["status"]

        def tell(_scenario: str | None) -> Response:
            return self._tell(wire, asked["task"], key, is_result)

        return Visit(wire.provider, "", "", key, {}, False, tell)

    def _make(self, wire: MediaWire, model: str, prompt: str, reference: str | None) -> Item:
        name = f"task-{next(self._numbers)}"
        extension = SAMPLES.get(wire.kind, ("", "txt", b""))[1]
        file_url = f"{self._root_url}/files/{name}.{extension}"
        if wire.provider == "google":
            file_url = f"{self._root_url}/google/v1beta/files/{name}.{extension}:download?alt=media"
        return Item(name, model, prompt, wire.kind, file_url, reference)

    def _tell(self, wire: MediaWire, task: str, key: str, is_result: bool) -> Response:
        with self._changed:
            self.polls.append(Poll(wire.provider, task, key))
            self._changed.notify_all()
            item = self.items.get(task) or next((i for i in self.items.values() if i.reference == task), None)
            step = self._next_step(item, is_result) if item else ""
        if item is None:
            known = _NOT_FOUND.get(wire.provider) or wire.error(404, "not_found", "There is no such task.")
            return Response(404, json.dumps(known).encode())
        assert wire.progress is not None, "only tasks are asked for"
        if step in SCENARIOS:
            return spoil(step, wire, Response(200, b'{"what": "a poll that went wrong"}'), key)
        progress = wire.progress(item, step)
        if isinstance(progress, dict) and "output" in progress:
            output = progress.pop("output")
            progress = output if is_result else progress
        return Response(422 if "detail" in progress else 200, json.dumps(progress).encode())

    def _next_step(self, item: Item, is_result: bool) -> str:
        plan = self._plans.get(item.model, self.default_plan)
        step = self._progress.get(item.id, 0) - is_result
        if not is_result:
            self._progress[item.id] = step + 1
        return plan[min(max(step, 0), len(plan) - 1)]

    def _give_file(self, path: str, key: str) -> Response:
        with self._changed:
            self.fetches.append(path)
            scenario = self.file_script.pop(0) if self.file_script else "ok"
        if path.startswith("/google/") and not key:
            return Response(403, b"{}")
        extension = path.partition(":download")[0].rpartition(".")[2]
        mime, content = next(
            ((mime, content) for mime, known, content in SAMPLES.values() if known == extension),
            ("text/plain", b"nothing"),
        )
        return spoil(
            None if scenario == "ok" else scenario, MEDIA_WIRES[0], Response(200, content, mime), key
        )
