"""One try of one node, on a thread of its own."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from app import alerts
from app.calls import Call, collect_calls
from app.database import Database
from app.errors import DatabaseAway, GiveUp, PlatformRefused, PutBack, RetryLater, WorkerError
from app.nodes import Models, run_node
from app.patience import retry_on_disconnect
from app.platform.costs import credits_for
from app.platform.workflows import RunLost, WorkflowRun
from app.settings import settings
from app.workflow import (
    Node,
    NodeFailure,
    NodeId,
    NodeResult,
    NodeStatus,
    Output,
    Park,
    Start,
    Usage,
    WaitingReason,
    Work,
    prepare,
    stored_output,
)
from app.workflow.values import JsonObject, json_length

log = structlog.get_logger(__name__)

#: Marks the memo of a node that waits until its provider takes its call.
_TURN = "__provider_turn"

#: Most UTF-16 units the JSON of a memo may have.
LONGEST_MEMO = 65_536


@dataclass(frozen=True)
class Tried:
    """What came of a try; `failure` is None if the node is completed, and `number` counts from 1."""

    node_id: NodeId
    number: int
    duration_ms: int
    result: NodeResult
    failure: NodeFailure | None = None
    labels: JsonObject | None = None
    usage: Usage | None = None
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Parked:
    """A try put its node down, to wait; `number` counts from 1."""

    node_id: NodeId
    number: int
    park: Park
    labels: JsonObject | None = None
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Broken:
    """A try met an error that speaks of the database or the run, not of its node."""

    node_id: NodeId
    number: int
    error: Exception
    calls: list[Call] = field(default_factory=list)


class RunStopped(WorkerError):  # noqa: N818 - an outcome, read aloud in except clauses
    """Whoever answers the nodes can't go on now: the run ends for this attempt, and no node with it."""


#: A try by its node and its number, and what it ends in.
Try = tuple[NodeId, int]
Ended = Tried | Parked | Broken


@dataclass(frozen=True)
class Resumed:
    """What a node finds that has waited: its memo, and the answer {data, by, at} if one came."""

    memo: JsonObject
    answer: JsonObject | None


class Trier:
    """Tries the nodes of one run; safe to use from many threads."""

    def __init__(
        self, database: Database, run: WorkflowRun, inputs: JsonObject, models: Models | None = None
    ) -> None:
        self._database = database
        self._run = run
        self._models = models or Models(database, run)
        self._inputs = inputs

    def attempt(self, start: Start, number: int, resumed: Resumed | None = None) -> Ended:
        """Do a node's work once."""
        calls: list[Call] = []
        try:
            return self._try(start, number, resumed, calls)
        except (RunStopped, RunLost, DatabaseAway, PlatformRefused) as error:
            return Broken(start.node.id, number, error, calls)

    def _try(self, start: Start, number: int, resumed: Resumed | None, calls: list[Call]) -> Tried | Parked:
        """The same; raises what speaks of the database or the run, not of the node."""
        began = time.monotonic()
        labels: JsonObject | None = None
        failure: NodeFailure | None = None
        try:
            work = prepare(start, self._inputs)
            labels = dict(work.labels)
            with collect_calls(calls, self._models.owner):
                given = self._run_node(work, resumed)
                result = NodeResult(NodeStatus.COMPLETED, stored_output(given))
        except Park as park:
            if json_length(park.memo) <= LONGEST_MEMO:
                return Parked(start.node.id, number, park, labels, calls)
            failure = NodeFailure("memo_too_large")
        except PutBack as wait:
            return Parked(start.node.id, number, _wait_for_turn(wait, number, resumed), labels, calls)
        except NodeFailure as error:
            failure = error
        except (RunStopped, RunLost, DatabaseAway, PlatformRefused):
            raise
        except (GiveUp, RetryLater) as error:
            failure = NodeFailure.from_job_error(error)
        except Exception as error:
            log.exception("node ended in an unexpected error", nodeId=start.node.id)
            alerts.unexpected(error)
            failure = NodeFailure(f"worker.internal_error: unexpected {type(error).__name__}")
        duration_ms = round((time.monotonic() - began) * 1000)
        self._charge(start.node, calls)
        return Tried(
            node_id=start.node.id,
            number=number,
            duration_ms=duration_ms,
            result=failure.result if failure else result,
            failure=failure,
            labels=labels,
            usage=self._models.usage_of(start.node),
            calls=calls,
        )

    def _charge(self, node: Node, calls: list[Call]) -> None:
        """Add what the try's calls cost in credits to what its node has taken, if there is a rate."""
        rate = settings().credits_per_usd
        if rate is not None and calls:
            price = retry_on_disconnect(lambda: credits_for(self._database, calls, rate), seconds=math.inf)
            self._models.charge(node, price)

    def time_limit_ms(self, node: Node) -> int:
        """How long one try of a node may take."""
        return node.config.timeout_ms * self._models.most_turns(node)

    def give_up(self, node: Node, number: int) -> Tried:
        """What becomes of a try that has had its time, whatever its thread is still at."""
        timeout_ms = self.time_limit_ms(node)
        failure = NodeFailure.timed_out(timeout_ms)
        usage = self._models.usage_of(node)
        return Tried(node.id, number, timeout_ms, failure.result, failure, usage=usage)

    def _run_node(self, work: Work, resumed: Resumed | None) -> Output:
        return run_node(
            work,
            self._run,
            self._database,
            self._models,
            memo=_own_memo(resumed),
            answer=resumed.answer if resumed else None,
        )


def number_of_try(resumed: Resumed | None) -> int:
    """The number of a node's next try: that of the one which its provider had wait, else the first."""
    turn = _put_off(resumed)
    number = turn.get("try") if turn else None
    return number if isinstance(number, int) else 1


def _wait_for_turn(wait: PutBack, number: int, resumed: Resumed | None) -> Park:
    """Put a node down whose provider takes no call yet; its try and what it remembers are kept for it."""
    until = timedelta(seconds=wait.after_seconds)
    memo: JsonObject = {_TURN: {"memo": _own_memo(resumed), "try": number}}
    return Park(WaitingReason.TIMER, until, memo, ticket=wait.ticket)


def _own_memo(resumed: Resumed | None) -> JsonObject | None:
    """What the node itself left behind; nothing if it was put down for its provider's sake only."""
    turn = _put_off(resumed)
    memo = turn.get("memo") if turn else resumed.memo if resumed else None
    return memo if isinstance(memo, dict) else None


def _put_off(resumed: Resumed | None) -> JsonObject | None:
    """What is known of the try that a node's provider had wait; None if it waited for anything else."""
    turn = resumed.memo.get(_TURN) if resumed else None
    return turn if isinstance(turn, dict) else None
