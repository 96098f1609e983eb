"""Lens runs as the platform keeps them: the claimed row, what it needs to be run, and where results go."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.errors import JobError
from app.providers import Answer


class LensRun(BaseModel):
    """A run as fn_worker_claim_queued_run returns it."""

    run_id: UUID
    request_id: UUID
    requester_lenser_id: UUID
    workspace_id: UUID | None
    lens_id: UUID | None
    version_id: UUID | None
    model_id: UUID | None
    model_key: str | None
    provider_key: str | None
    funding_source: str
    byok_key_ref_id: UUID | None
    input_snapshot: dict[str, JsonValue]
    output_modality: str | None = None


class TemplateParameter(BaseModel):
    """A declared parameter of a lens version; `required` is its tool's."""

    id: UUID
    label: str
    required: bool


class LensVersion(BaseModel):
    """The template of a lens version and its parameters, ordered by label."""

    template_body: str
    parameters: list[TemplateParameter]


def fetch_version(database: Database, version_id: UUID) -> LensVersion | None:
    """The lens version a run is bound to, or None when it was deleted."""
    rows = database.call("SELECT worker.fn_lens_version(%s) AS version", (version_id,))
    return LensVersion.model_validate(rows[0]["version"]) if rows[0]["version"] else None


def complete_run(tx: cursor, run: LensRun, answer: Answer, credits_per_usd: Decimal | None) -> None:
    """Mark the run as succeeded with its answer, usage, latency and cost.

    Credits are taken for it if there is a rate and the platform pays.
    """
    tx.execute(
        """
        SELECT worker.complete_lens_run(
            p_run_id => %(run_id)s, p_token_input => %(tokens_in)s, p_token_output => %(tokens_out)s,
            p_text => %(text)s, p_meta => %(meta)s, p_latency_ms => %(latency_ms)s,
            p_credits_per_usd => %(rate)s)
        """,
        {
            "run_id": run.run_id,
            "tokens_in": answer.tokens_in,
            "tokens_out": answer.tokens_out,
            "text": answer.text,
            "meta": Json(_response_meta(run, answer)),
            "latency_ms": answer.latency_ms,
            "rate": credits_per_usd,
        },
    )


def store_artifact(tx: cursor, run: LensRun, answer: Answer) -> None:
    """Store the answer as the run's primary artifact."""
    tx.execute(
        """
        SELECT fn_worker_persist_execution_artifacts(
            p_run_id => %(run_id)s, p_lenser_id => %(lenser_id)s, p_workspace_id => %(workspace_id)s,
            p_ai_model_id => %(model_id)s, p_kind => 'text', p_content_text => %(text)s,
            p_media_ids => '{}')
        """,
        {
            "run_id": run.run_id,
            "lenser_id": run.requester_lenser_id,
            "workspace_id": run.workspace_id,
            "model_id": run.model_id,
            "text": answer.text,
        },
    )


def fail_run(tx: cursor, run_id: UUID, error: JobError) -> None:
    """Mark the run as failed with its error code and message, and what it has cost all the same."""
    tx.execute("SELECT worker.fail_lens_run(%s, %s, %s)", (run_id, error.code, error.message))


def _response_meta(run: LensRun, answer: Answer) -> dict[str, Any]:
    return {
        "provider": answer.provider,
        "model": run.model_key or answer.model,
        "finish_reason": answer.finish_reason,
        "provider_request_id": answer.request_id,
        "usage": answer.usage,
    }
