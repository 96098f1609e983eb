"""Media in the demo: order every case, and check what was stored and how often it was paid for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.media_cases import PROMPT, MediaCase, Order, media_cases
from app.cli.demo.scenario import Tally
from app.local.battles import Contender, enqueue_battles
from app.local.media_samples import SAMPLES
from app.local.platform import enqueue_lens_runs
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer

#: What the demo's processes need so that a task that renders is asked for again at once.
MEDIA_ENVIRONMENT = {"ASYNC_MEDIA_POLL_INTERVAL_MS": "50"}

_FIND = """
    WITH owners AS (
        SELECT r.id AS owner, r.id AS job, 0 AS slot, r.status, r.error_code, r.response_text AS url,
               'voting' AS battle_status, r.created_at
        FROM execution.runs r WHERE r.id = ANY (%(owners)s)
        UNION ALL
        SELECT b.id, j.id, ascii(j.slot) - ascii('A'), j.status, d.error_code, s.media_url,
               b.status::text, j.created_at
        FROM battles.battle_execution_jobs j
        JOIN battles.battles b ON b.id = j.battle_id
        LEFT JOIN battles.submissions s ON s.contender_id = j.contender_id
        LEFT JOIN battles.battle_execution_dead_letters d ON d.job_id = j.id
        WHERE b.id = ANY (%(owners)s)
    )
    SELECT o.owner, o.slot, o.status, o.error_code, o.url, o.battle_status,
           (SELECT count(*) FROM worker.media_tasks t WHERE t.job = o.job),
           (SELECT coalesce(max(t.polls), 0) FROM worker.media_tasks t WHERE t.job = o.job),
           (SELECT extract(epoch FROM min(c.first_claimed_at) - o.created_at)::float * 1000
            FROM worker.claims c WHERE c.job = o.job)
    FROM owners o
"""

_DONE, _FAILED = {"succeeded", "completed"}, {"failed"}


class Ordered(NamedTuple):
    """An order as the database has it; `battle_status` of one that no battle waits for is `voting`."""

    owner: UUID
    slot: int
    status: str
    error_code: str | None
    url: str | None
    battle_status: str
    orders: int
    polls: int
    pickup_ms: float | None


class Media:
    """Every case of a medium, from the order to the bucket that it is stored in."""

    kind = "media_poll"
    title = "Media"
    story = "Images, speech, video and music: each is ordered once and stored in a bucket."

    def __init__(self, storage: StorageServer) -> None:
        self._storage = storage
        self._cases = list(media_cases())

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Plan how each task goes, queue the lens runs and start the battles."""
        for case in self._cases:
            for order in case.orders:
                if order.wire_model is not None:
                    providers.media.plan(order.wire_model, order.plan)
            case.owner_ids.extend(_queue(session, case))

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each case is; what is done is looked for in the bucket."""
        owners = [owner for case in self._cases for owner in case.owner_ids]
        with session.cursor() as rows:
            rows.execute(_FIND, {"owners": owners})
            found = [Ordered._make(row) for row in rows.fetchall()]
        return [
            tally(case, [row for row in found if row.owner in case.owner_ids], self._storage)
            for case in self._cases
        ]


def tally(case: MediaCase, found: Sequence[Ordered], storage: StorageServer) -> Tally:
    """How far a case is, given what was found of it."""
    total = case.count * len(case.orders)
    statuses = [row.status for row in found]
    done, failed = (sum(map(statuses.count, words)) for words in (_DONE, _FAILED))
    queued = statuses.count("queued") + total - len(found)
    surprises = [line for row in found if (line := _surprise(case.orders[row.slot], row, storage))]
    if case.is_battle and statuses and set(statuses) <= _DONE | _FAILED:
        stuck = {row.battle_status for row in found} - {"voting"}
        surprises += [f"both contenders are done, and the battle is {status}" for status in stuck]
    return Tally(
        label=case.label,
        outcome=case.outcome,
        queued=queued,
        running=total - queued - done - failed,
        succeeded=done,
        failed=failed,
        surprises=tuple(surprises),
        pickups_ms=tuple(row.pickup_ms for row in found if row.pickup_ms is not None),
    )


def _surprise(order: Order, row: Ordered, storage: StorageServer) -> str | None:
    """How an ended order differs from what it should be, or None."""
    if row.status not in _DONE | _FAILED:
        return None
    if row.error_code != order.error_code:
        return f"{order.model} ended with {row.error_code} instead of {order.error_code}"
    if row.orders != 1:
        return f"{order.model} was ordered {row.orders} times"
    if row.polls != order.polls:
        return f"{order.model} was polled in vain {row.polls} times instead of {order.polls}"
    return None if order.error_code else _misplaced(order, row, storage)


def _misplaced(order: Order, row: Ordered, storage: StorageServer) -> str | None:
    """What is wrong with a stored medium, or None."""
    path = (row.url or "").removeprefix(f"{storage.url}/storage/v1/object/authenticated/")
    stored = storage.objects.get(path)
    mime, _, content = SAMPLES[order.kind]
    if stored is None:
        return f"{order.model} left {row.url!r}, which is not in Storage"
    if (stored.mime, stored.content) != (mime, content):
        return f"{order.model} left {len(stored.content)} bytes of {stored.mime} instead of {mime}"
    return None


def _queue(session: connection, case: MediaCase) -> list[UUID]:
    models = [order.model for order in case.orders]
    if case.is_battle:
        return enqueue_battles(session, case.count, *map(Contender, models), task_prompt=PROMPT)
    return enqueue_lens_runs(session, case.count, model=models[0], inputs={"prompt": PROMPT})
