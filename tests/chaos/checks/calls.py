"""Whether everybody outside was asked, told and sent to once, or again for a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.outside import Asked

#: What a worker's threads were at when it was frozen they go on with when it is thawed.
THAWING_SECONDS = 15.0
#: What an answer may take to be written when the machine is busy.
WRITING_SECONDS = 1.0


def calls_are_repeated_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """A provider is asked again only where it failed, or where the process that had asked ended meanwhile.

    So there are no more calls than questions, failures, and what dying processes were at. That the database
    was away is no reason: an answer is kept until it is written.
    """
    for (model, prompt, _), asked in evidence.questions().items():
        for reason in reasons_of_repeats(evidence, asked):
            if reason is None:
                yield f"{model} had answered {prompt!r}, of {', '.join(map(str, asked))}"


def reasons_of_repeats(evidence: Evidence, asked: Sequence[Asked]) -> Iterator[str | None]:
    """Why each request for one question but the last was not enough: a failure, a death, or nothing.

    A worker that thaws may ask too, before it learns that another one has its work.
    """
    late = [call for call in asked if _asks_too_late(evidence, call)]
    wanted = [call for call in asked if call not in late]
    yield from ("thawed worker" for _ in (late if wanted else late[:-1]))
    for call in wanted[:-1]:
        until = (call.ended_at or call.began_at) + WRITING_SECONDS
        if call.spoiled is not None:
            yield "failure of the provider"
        else:
            yield evidence.ledger.death(call.worker, call.began_at, until)


def _asks_too_late(evidence: Evidence, call: Asked) -> bool:
    return any(
        fault.name == "freeze worker"
        and fault.target == call.worker
        and fault.ended_at is not None
        and fault.ended_at <= call.began_at <= fault.ended_at + THAWING_SECONDS
        for fault in evidence.ledger.faults
    )


def media_are_ordered_once(evidence: Evidence) -> Iterator[str]:
    """No provider ever took two orders for one job."""
    taken = Counter(item.prompt for item in evidence.items)
    yield from (f"{count} orders: {prompt!r}" for prompt, count in taken.items() if count > 1)


def messages_are_sent_once(evidence: Evidence) -> Iterator[str]:
    """What nobody can take back was sent once where its node says so, and never twice."""
    sent = Counter(evidence.messages)
    told = {
        row["run_id"] for row in evidence["nodes"] if row["label"] == "tell" and row["status"] == "completed"
    }
    for run in evidence["workflow_runs"]:
        count = sent[f"{run['topic']} is told"]
        if count > 1 or (run["id"] in told and count != 1):
            yield f"workflow run {run['id']} sent {count} messages"


def webhooks_are_delivered_once(evidence: Evidence) -> Iterator[str]:
    """Each webhook is recorded as delivered once, has arrived, and was repeated for a reason only."""
    arrived: dict[str, list[Any]] = {}
    for posted in evidence.posted:
        arrived.setdefault(posted.id, []).append(posted)
    for row in evidence["webhooks"]:
        if row["delivered_at"] is None:
            yield f"webhook {row['id']} is {row['state']}: {row['last_error']}"
            continue
        if row["successes"] != 1 or row["recorded"] != row["attempts"]:
            kept = f"{row['recorded']} of {row['attempts']} attempts are kept"
            yield f"webhook {row['id']}: {row['successes']} successes, {kept}"
        taken = [posted for posted in arrived.get(str(row["id"]), ()) if posted.taken]
        if not taken:
            yield f"webhook {row['id']} counts as delivered and never arrived"
        for posted in taken[:-1]:
            if not evidence.ledger.explain(None, posted.began_at, posted.began_at + WRITING_SECONDS):
                yield f"webhook {row['id']} was sent again without need"
