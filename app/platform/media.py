"""Media of jobs as the platform and the worker keep them: tasks, where files go, and where results go."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import AwareDatetime, BaseModel

from app.database import Database
from app.errors import JobError, StaleClaim

OwnerKind = Literal["lens_run", "battle_job", "node_media"]

#: Extensions that are not simply the second half of the MIME type.
_EXTENSIONS = {"jpeg": "jpg", "mpeg": "mp3", "quicktime": "mov", "plain": "txt"}

#: The platform's buckets and what they take, in bytes.
_RUN_BUCKET, _RUN_BYTES = "generated-media", 100 * 1024 * 1024
_BATTLE_BUCKET, _BATTLE_BYTES = "battles-media", 50 * 1024 * 1024


class MediaTask(BaseModel):
    """A task that a provider works on; `polls` and `failures` (in a row) tell how often it was asked for.

    `error_code` is what the last poll ended in, if it found nothing out.
    """

    id: UUID
    owner_kind: OwnerKind
    job: UUID
    provider: str
    model: str
    wire_model: str
    modality: str
    byok_key_id: UUID | None
    task_id: str
    polls: int
    failures: int
    created_at: AwareDatetime
    has_expired: bool
    error_code: str | None


@dataclass(frozen=True)
class Stored:
    """A medium that is kept: at `url`, which is an object's in `bucket` if there is one."""

    url: str
    mime: str
    modality: str
    bytes_count: int | None = None
    bucket: str | None = None
    object_key: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True)
class Place:
    """Where a job's file goes: `folder/name` in a bucket that takes up to `max_bytes`."""

    bucket: str
    stem: str
    max_bytes: int
    plain_extension: bool = False

    def object_key(self, mime: str) -> str:
        """The object's key for a file of that type."""
        subtype = mime.partition("/")[2]
        return f"{self.stem}.{subtype if self.plain_extension else _EXTENSIONS.get(subtype, subtype)}"


def place_of(database: Database, kind: OwnerKind, job: UUID, *, is_task: bool) -> Place:
    """Where the platform expects a job's file; the same at every attempt, so that a retry replaces it."""
    if kind == "lens_run":
        folder = "async" if is_task else "sync"
        return Place(_RUN_BUCKET, f"{folder}/{job}", _RUN_BYTES, plain_extension=is_task)
    if kind == "node_media":
        return Place(_RUN_BUCKET, f"workflows/{job}", _RUN_BYTES)
    rows = database.call("SELECT * FROM worker.fn_battle_job_place(%s)", (job,))
    if not rows:
        raise StaleClaim("the battle's job was deleted")
    row = rows[0]
    stem = f"{row['battle_id']}/{row['contender_id']}/{row['created_ms']}-submission"
    return Place(_BATTLE_BUCKET, stem, _BATTLE_BYTES)


def complete(
    tx: cursor,
    kind: OwnerKind,
    job: UUID,
    stored: Stored,
    meta: dict[str, Any],
    credits_per_usd: Decimal | None,
) -> None:
    """Hand a medium in for its job; raises StaleClaim when the job waits for none any more.

    A medium without a price in credits is taken for at that rate, if there is one.
    """
    if kind == "battle_job":
        complete_battle_media(tx, job, stored)
        return
    statement = {
        "lens_run": "SELECT worker.fn_complete_media_run(%s, %s) AS done",
        "node_media": "SELECT worker.fn_complete_node_medium(%s, %s) AS done",
    }[kind]
    described = {
        "url": stored.url,
        "mime": stored.mime,
        "modality": stored.modality,
        "bytes": stored.bytes_count,
        "bucket": stored.bucket,
        "object_key": stored.object_key,
        "width": stored.width,
        "height": stored.height,
        "duration_seconds": stored.duration_seconds,
        "meta": {**meta, "mime_type": stored.mime},
        "credits_per_usd": str(credits_per_usd) if credits_per_usd else None,
    }
    tx.execute(statement, (job, Json(described)))
    if not _only(tx)["done"]:
        raise StaleClaim("nobody waits for the medium any more")


def complete_battle_media(tx: cursor, job_id: UUID, stored: Stored) -> None:
    """Hand a medium in as a contender's submission and complete its job; music is a kind of audio there."""
    modality = "audio" if stored.modality == "music" else stored.modality
    _complete_battle_job(
        tx,
        job_id,
        "p_media_url => %(url)s, p_mime_type => %(mime)s, p_output_modality => %(modality)s",
        {"url": stored.url, "mime": stored.mime, "modality": modality},
    )


def complete_battle_text(tx: cursor, job_id: UUID, text: str) -> None:
    """Hand a text in as a contender's submission and complete its job."""
    _complete_battle_job(
        tx, job_id, "p_content_text => %(text)s, p_output_modality => 'text'", {"text": text}
    )


def _complete_battle_job(tx: cursor, job_id: UUID, content: str, values: dict[str, Any]) -> None:
    # Locks the battle before the job: of two contenders that finish at once, the second opens voting.
    tx.execute("SELECT worker.fn_claimed_battle_job(%s) AS job", (job_id,))
    job = _only(tx)["job"]
    if job is None or job["battle_problem"]:
        raise StaleClaim("the battle's job waits for nothing any more")
    tx.execute(
        "SELECT fn_worker_upsert_battle_submission("
        f"p_battle_id => %(battle)s, p_contender_id => %(contender)s, {content})",
        {"battle": job["battle_id"], "contender": job["contender_id"], **values},
    )
    tx.execute("SELECT fn_worker_complete_battle_job(%s, 'completed')", (job_id,))


def fail_task(tx: cursor, task_id: UUID, error: JobError) -> None:
    """Mark a task and its job as failed; a battle's job goes to the dead letters."""
    tx.execute(
        "SELECT worker.fn_end_media_task(%(task)s, 'failed', %(code)s, %(message)s);"
        " SELECT owner_kind, job FROM worker.media_tasks WHERE id = %(task)s",
        {"task": task_id, "code": error.code, "message": error.message},
    )
    owner = _only(tx)
    statement = {
        "lens_run": "SELECT worker.fail_lens_run(%s, %s, %s)",
        "battle_job": "SELECT worker.fn_bury_battle_job(%s, %s, %s)",
        "node_media": "SELECT worker.fn_end_node_medium(%s, 'failed', %s, %s)",
    }[owner["owner_kind"]]
    tx.execute(statement, (owner["job"], error.code, error.message))


def _only(tx: cursor) -> dict[str, Any]:
    row = tx.fetchone()
    assert row is not None
    return dict(row)
