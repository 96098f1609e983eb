"""The loop of one run: start what is ready, hear what comes of it, write it down, until all has ended."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from app.answers import Hand
from app.database import Database
from app.engine.agenda import Agenda
from app.engine.budget import Budget
from app.engine.crew import Crew, News, ShutdownBegun, Trouble
from app.engine.page import Page
from app.engine.summary import Ending
from app.engine.tries import Broken, Ended, Parked, Tried, Trier, Try, number_of_try
from app.engine.waits import Waits
from app.engine.writing import write
from app.errors import PlatformRefused, PutBack
from app.platform.parked_nodes import ParkedNode
from app.platform.workflows import NodeRow, RunHold, RunLost, Verdict
from app.settings import settings
from app.workflow import Advance, NodeId, NodeStatus, Progress, Standing, Start, Stop

#: How long after a node's time limit it is given up: who watches the limit himself says more of it.
GRACE_MS = 500


class RunLoop:
    """Drives the progress of a run; it is the only one that writes, so what it writes is in order."""

    def __init__(  # noqa: PLR0913  # parts of a run, by name
        self,
        database: Database,
        hold: RunHold,
        hand: Hand,
        progress: Progress,
        trier: Trier,
        crew: Crew[Try, Ended],
        *,
        budget: Budget,
        worked_ms: int = 0,
    ) -> None:
        self._database = database
        self._hold = hold
        self._hand = hand
        self._progress = progress
        self._trier = trier
        self._crew = crew
        self._budget = budget
        self._width = settings().workflow_max_parallel_nodes
        self._began_at = time.monotonic()
        self._deadline = self._began_at + (settings().workflow_timeout_ms - worked_ms) / 1000
        self._ready: deque[NodeId] = deque()
        self._starts: dict[NodeId, Start] = {}
        self._at_work: dict[NodeId, int] = {}  # the number of each try
        self._retries = Agenda()
        #: When tries at work have taken too long, as an agenda and by node.
        self._limits = Agenda()
        self._limit_of: dict[NodeId, float] = {}
        self._waits = Waits(database, hold, progress)
        #: Raised when what is at work has ended and is written, or kept: it may have been paid for.
        self._why_to_stop: BaseException | None = None
        self._reason: str | None = None

    def run_to_end(self, stored: Mapping[str, NodeRow], parked: Sequence[ParkedNode] = ()) -> Ending | None:
        """Work until every node has ended, or until all that are left wait: then the run is put down.

        `stored` and `parked` are what earlier attempts left. The time limit counts from here, less what
        attempts were at work that put the run down; one after an hour's outage gets all of it again.
        """
        self._open(stored, parked)
        while self._progress.standing is not Standing.FINISHED:
            if self._why_to_stop and not self._at_work:
                raise self._why_to_stop
            if self._progress.standing is Standing.RUNNING:
                self._hear(self._crew.await_news(self._wait_seconds()))
            elif not self._put_down():
                return None
        if isinstance(self._why_to_stop, PlatformRefused):
            raise self._why_to_stop
        return Ending.of(self._progress, self._reason)

    def _put_down(self) -> list[NodeId]:
        """Put the run down, or begin the nodes that have their turn by now."""
        woken = self._waits.put_down(round((time.monotonic() - self._began_at) * 1000))
        self._ready.extend(woken)
        self._turn(self._new_page())
        return woken

    def _open(self, stored: Mapping[str, NodeRow], parked: Sequence[ParkedNode]) -> None:
        page = self._new_page()
        notes = self._progress.graph.notes
        page.tell_of_start(self._hold.attempt, stored.values(), has_waited=bool(parked), notes=notes)
        opening = self._progress.opening
        told = {node_id for node_id, row in stored.items() if NodeStatus(row.status).is_terminal}
        page.settle({node_id: end for node_id, end in opening.settled.items() if node_id not in told})
        self._waits.restore(parked)
        self._stop_if_over_budget(page)
        self._ready.extend(n for n in opening.ready if self._progress.status_of(n) is NodeStatus.QUEUED)
        page.wait_in_line(self._ready, NodeStatus.QUEUED, "queued")
        page.wait_in_line(self._far_off(), NodeStatus.AWAITING_DEPENDENCY, "dependency")
        self._turn(page)

    def _far_off(self) -> list[NodeId]:
        nodes = [n for n in self._progress.graph.nodes if n not in self._progress.parked]
        return [n for n in nodes if self._progress.status_of(n) is NodeStatus.AWAITING_DEPENDENCY]

    def _hear(self, news: list[Ended | News[Try]]) -> None:
        """Take in what happened, or that time has passed."""
        page = self._new_page()
        # What came with the word that the run is lost may have been paid for, and is written down before.
        for item in sorted(news, key=lambda item: isinstance(item, Verdict)):
            self._hear_one(item, page)
        self._give_up_late_tries(page)
        woken = self._waits.look()
        page.wait_in_line(woken, NodeStatus.QUEUED, "queued")
        self._ready.extend(woken)
        if time.monotonic() >= self._deadline:
            limit_ms = settings().workflow_timeout_ms
            self._stop(Stop.TIMED_OUT, f"the run took longer than {limit_ms} ms", page)
        self._turn(page)

    def _hear_one(self, item: Ended | News[Try], page: Page) -> None:
        match item:
            case Tried() | Parked() | Broken() if not self._leaves_work(item.node_id, item.number):
                # The run was stopped, or the try given up, before it ended; what it bought is bought.
                page.calls += item.calls
            case Trouble() if not self._leaves_work(*item.work):
                pass
            case Tried():
                self._take_in(item, page)
            case Parked():
                self._progress.park(item.node_id)
                self._waits.note(item.node_id, item.park.ticket)
                page.park(item)
            case Broken():
                page.calls += item.calls
                self._why_to_stop = item.error
            case Trouble():
                self._why_to_stop = item.error
            case ShutdownBegun():
                self._why_to_stop = PutBack("worker.shutdown", "another process goes on with the run")
            case Verdict.KILLED:
                self._stop(Stop.CANCELLED, "kill_switch", page)
            case Verdict():
                write(self._database, self._hold, page, self._hand)
                raise RunLost(item)

    def _leaves_work(self, node_id: NodeId, number: int) -> bool:
        """Take a try off what is at work; False if it is none that anybody waits for."""
        if self._at_work.get(node_id) != number:
            return False
        del self._at_work[node_id]
        return True

    def _give_up_late_tries(self, page: Page) -> None:
        """End tries that took too long, whatever their threads are at; what they still say is dropped."""
        now = time.monotonic()
        for node_id, number in self._limits.due(now):
            # A node that was parked meanwhile has a turn of the same number, and a later limit.
            if self._limit_of[node_id] <= now and self._leaves_work(node_id, number):
                self._take_in(self._trier.give_up(self._progress.graph.nodes[node_id], number), page)

    def _take_in(self, tried: Tried, page: Page) -> None:
        """End a node, or have it tried again later."""
        delay_ms = self._delay_ms(tried)
        if delay_ms is not None:
            page.wait_for_retry(tried, delay_ms)
            self._retries.add(time.monotonic() + delay_ms / 1000, tried.node_id, tried.number + 1)
            return
        del self._starts[tried.node_id]
        page.end(tried)
        self._budget.spend(tried)
        self._follow(self._progress.complete(tried.node_id, tried.result), page)
        self._stop_if_over_budget(page)

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
        self._limits.clear()

    def _stop_if_over_budget(self, page: Page) -> None:
        if self._budget.is_spent:
            self._stop(Stop.OVER_BUDGET, "budget_exceeded", page)

    def _turn(self, page: Page) -> None:
        """Write what happened together with what begins because of it; only then let it begin."""
        tries = [] if self._why_to_stop else self._next_tries()
        for node_id, number in tries:
            page.start(node_id, number)
        self._why_to_stop = write(self._database, self._hold, page, self._hand) or self._why_to_stop
        for node_id, number in [] if self._why_to_stop else tries:
            self._at_work[node_id] = number
            limit_ms = self._trier.time_limit_ms(self._progress.graph.nodes[node_id]) + GRACE_MS
            self._limit_of[node_id] = time.monotonic() + limit_ms / 1000
            self._limits.add(self._limit_of[node_id], node_id, number)
            work = partial(self._trier.attempt, self._starts[node_id], number, self._waits.resumed(node_id))
            self._crew.set_to((node_id, number), work)

    def _next_tries(self) -> list[tuple[NodeId, int]]:
        """What there is room for, by node and number of the try; a second try goes before a first one."""
        retries = self._retries.due(time.monotonic(), most=self._room)
        return [*retries, *self._first_tries(self._room - len(retries))]

    def _first_tries(self, most: int) -> list[tuple[NodeId, int]]:
        """A node's first tries, and the ones with which it goes on after a wait."""
        begun: list[tuple[NodeId, int]] = []
        while self._ready and len(begun) < most:
            node_id = self._ready.popleft()
            # A node that halts the workflow also ends what was ready.
            if self._progress.status_of(node_id) is NodeStatus.QUEUED:
                self._starts[node_id] = self._progress.begin(node_id)
                begun.append((node_id, number_of_try(self._waits.resumed(node_id))))
        return begun

    @property
    def _room(self) -> int:
        """How many more tries may begin now."""
        return self._width - len(self._at_work)

    def _wait_seconds(self) -> float:
        until = min(self._deadline, self._limits.next_at, self._waits.next_look_at)
        if self._room and not self._why_to_stop:
            until = min(until, self._retries.next_at)
        return until - time.monotonic()

    def _new_page(self) -> Page:
        return Page(self._progress.graph.nodes)
