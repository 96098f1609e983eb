"""A reference platform's contents: the seeds, further models, and queued lens runs.

For the demo, the dev command and the tests; never for a real platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection, cursor
from psycopg2.extras import Json

from app.local.seeding import Seeded, ensure_model, seed
from app.local.seeds import seeded_id

__all__ = ["Seeded", "enqueue_lens_run", "enqueue_lens_runs", "ensure_model", "seed"]


def enqueue_lens_run(
    session: connection, *, model: str | None, inputs: Mapping[str, Any], **request: Any
) -> UUID:
    """Queue one lens run and return its id; for the arguments see `enqueue_lens_runs`."""
    (run_id,) = enqueue_lens_runs(session, 1, model=model, inputs=inputs, **request)
    return run_id


def enqueue_lens_runs(  # noqa: PLR0913  # the columns of a request, nearly all by name and optional
    session: connection,
    count: int,
    *,
    model: str | None,
    inputs: Mapping[str, Any],
    lens: str | None = None,
    version: UUID | None = None,
    funding_source: str = "platform_credit",
    byok_key_id: UUID | None = None,
    output_modality: str = "text",
    requester: str = "ada",
) -> list[UUID]:
    """Queue equal lens runs in one statement, each with a request of its own, and return their ids.

    `requester` and `lens` are names of seeds. Without `version` a lens runs its newest published one.
    Raises `LookupError` for a model that isn't there.
    """
    with session.cursor() as tx:
        model_id = None if model is None else _model_id(tx, model)
        tx.execute(
            """
            WITH requests AS (
                INSERT INTO execution.requests (
                    requester_lenser_id, origin_type, model_id, lens_id, version_id,
                    input_snapshot, funding_source, byok_key_ref_id, output_modality
                )
                SELECT %(requester)s, 'web', %(model)s, %(lens)s, %(version)s,
                       %(inputs)s, %(funding_source)s, %(byok_key)s, %(output_modality)s
                FROM generate_series(1, %(count)s)
                RETURNING id, model_id
            )
            -- The clock, not the transaction's time: first queued is first served.
            INSERT INTO execution.runs (request_id, model_id, created_at)
            SELECT id, model_id, clock_timestamp() FROM requests
            RETURNING id
            """,
            {
                "requester": seeded_id("person", requester),
                "model": model_id,
                "lens": seeded_id("lens", lens) if lens else None,
                "version": version,
                "inputs": Json(dict(inputs)),
                "funding_source": funding_source,
                "byok_key": byok_key_id,
                "output_modality": output_modality,
                "count": count,
            },
        )
        return [run_id for (run_id,) in tx.fetchall()]


def _model_id(tx: cursor, key: str) -> UUID:
    tx.execute("SELECT id FROM ai.models WHERE key = %s", (key,))
    row: tuple[UUID] | None = tx.fetchone()
    if row is None:
        raise LookupError(f"there is no model {key}: ensure_model makes one")
    return row[0]
