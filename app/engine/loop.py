"""The loop of one run: start what is ready, hear what comes of it, write it down, until all has ended."""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Mapping
from functools import partial

from app.database import Database
from app.engine.crew import Crew, News, ShutdownBegun, Trouble
from app.engine.page import Page
from app.engine.summary import Ending
from app.engine.tries import Tried, Trier
from app.engine.writing import RunLost, write
from app.errors import PutBack
from app.platform.run_events import RunEventType
from app.platform.workflows import NodeRow, RunHold, Verdict, WorkflowRun
from app.settings import settings
from app.workflow import Advance, NodeId, NodeStatus, Progress, Standing, Start, Stop, is_over_budget


class RunLoop:
    """Drives the progress of a run; it is the only one that writes, so what it writes is in order."""

    def __init__(
        self, database: Database, hold: RunHold, progress: Progress, trier: Trier, crew: Crew
    ) -> None:
        self._database = database
        self._hold = hold
        self._progress = progress
        self._trier = trier
        self._crew = crew
        self._width = settings().workflow_max_parallel_nodes
        self._deadline = time.monotonic() + settings().workflow_timeout_ms / 1000
        self._ready: deque[NodeId] = deque()
        self._starts: dict[NodeId, Start] = {}
        #: Tries at work, by node.
        self._at_work: dict[NodeId, int] = {}
        #: (when, node, number of the try), the next first.
        self._retries: list[tuple[float, NodeId, int]] = []
        #: Raised when what is at work has ended and is written: it may have been paid for.
        self._why_to_stop: BaseException | None = None
        self._reason: str | None = None

    def run_to_end(self, run: WorkflowRun, stored: Mapping[str, NodeRow]) -> Ending:
        """Work until every node has ended; `stored` are the rows that earlier attempts left.

        The time limit counts from here: an attempt after an hour's outage gets all of it again.
        """
        self._open(run, stored)
        while self._progress.standing is Standing.RUNNING:
            if self._why_to_stop and not self._at_work:
                raise self._why_to_stop
            self._hear(self._crew.await_news(self._wait_seconds()))
        return Ending.of(self._progress, self._reason)

    def _open(self, run: WorkflowRun, stored: Mapping[str, NodeRow]) -> None:
        page = self._new_page()
        is_new = self._hold.attempt == 1 or all(row.status == "pending" for row in stored.values())
        kind = RunEventType.RUN_STARTED if is_new else RunEventType.RUN_RECOVERED
        page.tell_of_run(kind, status="running", lifecycle="running", attempt=self._hold.attempt)
        opening = self._progress.opening
        told = {node_id for node_id, row in stored.items() if NodeStatus(row.status).is_terminal}
        page.settle({node_id: end for node_id, end in opening.settled.items() if node_id not in told})
        if is_over_budget(run.budget_credits, run.spent_credits):
            self._stop(Stop.OVER_BUDGET, "budget_exceeded", page)
        ready = NodeStatus.QUEUED
        self._ready.extend(n for n in opening.ready if self._progress.status_of(n) is ready)
        page.wait_in_line(self._ready, NodeStatus.QUEUED, "queued")
        page.wait_in_line(self._far_off(), NodeStatus.AWAITING_DEPENDENCY, "dependency")
        self._turn(page)

    def _far_off(self) -> list[NodeId]:
        waiting = NodeStatus.AWAITING_DEPENDENCY
        return [n for n in self._progress.graph.nodes if self._progress.status_of(n) is waiting]

    def _hear(self, news: list[News]) -> None:
        """Take in what happened, or that time has passed."""
        page = self._new_page()
        for item in news:
            match item:
                case Tried():
                    self._take_in(item, page)
                case Trouble():
                    self._at_work.pop(item.node_id, None)
                    self._why_to_stop = item.error
                case ShutdownBegun():
                    self._why_to_stop = PutBack("worker.shutdown", "another process goes on with the run")
                case Verdict.KILLED:
                    self._stop(Stop.CANCELLED, "kill_switch", page)
                case Verdict():
                    raise RunLost(item)
        if time.monotonic() >= self._deadline:
            limit_ms = settings().workflow_timeout_ms
            self._stop(Stop.TIMED_OUT, f"the run took longer than {limit_ms} ms", page)
        self._turn(page)

    def _take_in(self, tried: Tried, page: Page) -> None:
        """End a node, or have it tried again later."""
        if tried.node_id not in self._progress.running:
            return  # the run was stopped before the answer came
        del self._at_work[tried.node_id]
        delay_ms = self._delay_ms(tried)
        if delay_ms is not None:
            page.wait_for_retry(tried, delay_ms)
            due = time.monotonic() + delay_ms / 1000
            heapq.heappush(self._retries, (due, tried.node_id, tried.number + 1))
            return
        del self._starts[tried.node_id]
        page.end(tried)
        self._follow(self._progress.complete(tried.node_id, tried.result), page)

    def _delay_ms(self, tried: Tried) -> int | None:
        if tried.failure is None:
            return None
        return self._progress.graph.nodes[tried.node_id].config.retry.delay_ms(
            tried.failure.cause,
            tried.number,
            random.uniform,
            after_seconds=tried.failure.after_seconds,
        )

    def _follow(self, advance: Advance, page: Page) -> None:
        page.settle(advance.settled)
        self._ready.extend(advance.ready)

    def _stop(self, stop: Stop, reason: str, page: Page) -> None:
        """End everything; what is at work may go on, but nobody waits for it."""
        if self._progress.standing is Standing.FINISHED:
            return
        self._reason = reason
        self._follow(self._progress.stop(stop), page)
        self._at_work.clear()
        self._retries.clear()

    def _turn(self, page: Page) -> None:
        """Write what happened together with what begins because of it; only then let it begin."""
        tries = [] if self._why_to_stop else self._next_tries()
        for node_id, number in tries:
            page.start(node_id, number)
        write(self._database, self._hold, page)
        for node_id, number in tries:
            self._at_work[node_id] = number
            self._crew.set_to(node_id, partial(self._trier.attempt, self._starts[node_id], number))

    def _next_tries(self) -> list[tuple[NodeId, int]]:
        """What there is room for, by node and number of the try; a second try goes before a first one."""
        retries = self._due_retries()
        return [*retries, *self._first_tries(len(retries))]

    def _due_retries(self) -> list[tuple[NodeId, int]]:
        due: list[tuple[NodeId, int]] = []
        while self._retries and self._retries[0][0] <= time.monotonic() and self._has_room(len(due)):
            _, node_id, number = heapq.heappop(self._retries)
            due.append((node_id, number))
        return due

    def _first_tries(self, others: int) -> list[tuple[NodeId, int]]:
        begun: list[tuple[NodeId, int]] = []
        while self._ready and self._has_room(others + len(begun)):
            node_id = self._ready.popleft()
            # A node that halts the workflow also ends what was ready.
            if self._progress.status_of(node_id) is NodeStatus.QUEUED:
                self._starts[node_id] = self._progress.begin(node_id)
                begun.append((node_id, 1))
        return begun

    def _has_room(self, more: int) -> bool:
        return len(self._at_work) + more < self._width

    def _wait_seconds(self) -> float:
        until = self._deadline
        if self._retries and self._has_room(0) and not self._why_to_stop:
            until = min(until, self._retries[0][0])
        return until - time.monotonic()

    def _new_page(self) -> Page:
        return Page(self._progress.graph.nodes)
