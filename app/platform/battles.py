"""Battle jobs as the platform keeps them: the claimed row, where its answer goes, and how it ends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue, PositiveInt

from app.backoff import backoff_ms
from app.errors import GiveUp, JobError, RetryLater
from app.providers import Answer
from app.settings import settings

#: The platform refuses longer submissions; an answer is cut here, and its submission's metadata says so.
SUBMISSION_MAX_CHARS = 20_000

#: A persona's note is cut here, as the platform's editor does.
PERSONA_MAX_CHARS = 1_000

#: What worker.fn_battle_problem answers, for people.
_PROBLEMS = {
    "battle.deleted": "the battle was deleted",
    "battle.archived": "the battle was archived",
    "battle.closed": "the battle's voting has ended",
    "battle.contender_withdrawn": "the contender was withdrawn from the battle",
}


class BattleJob(BaseModel):
    """A job as worker.fn_battle_job describes it.

    `content_type` is what the battle is about: text, image, audio or video. `inputs` are the battle's
    shared ones and the lens assignment's; `battle_problem` says why nothing may be handed in, as it was
    when the job was claimed.
    """

    job_id: UUID
    battle_id: UUID
    contender_id: UUID
    slot: str
    task_prompt: str
    content_type: str
    inputs: dict[str, JsonValue]
    lens_id: UUID | None
    version_id: UUID | None
    provider_key: str
    model_key: str
    model_id: UUID | None
    max_tokens: PositiveInt
    temperature: float
    funding_source: str
    byok_key_ref_id: UUID | None
    key_owner_lenser_id: UUID
    retry_count: int
    max_retries: int
    personality_note: str | None
    personality_version_id: UUID | None
    memory_mode: str | None
    battle_problem: str | None


def check_battle(job: BattleJob) -> None:
    """Raise GiveUp with a `battle.…` code if the battle was over when the job was claimed."""
    _refuse(job.battle_problem)


def submit_text(tx: cursor, job: BattleJob, answer: Answer) -> None:
    """Hand in the contender's answer, with what is known about how it was made.

    The claim's end has locked the battle. Raises GiveUp with a `battle.…` code if it is over by now.
    """
    tx.execute("SELECT worker.fn_battle_problem(%s, %s) AS code", (job.battle_id, job.contender_id))
    _refuse(_only(tx)["code"])
    tx.execute(
        """
        SELECT fn_worker_upsert_battle_submission(
            p_battle_id => %s, p_contender_id => %s, p_content_text => %s, p_output_modality => 'text')
        """,
        (job.battle_id, job.contender_id, answer.text[:SUBMISSION_MAX_CHARS]),
    )
    tx.execute(
        "SELECT worker.fn_describe_submission(%s, %s, %s, %s)",
        (job.battle_id, job.contender_id, job.model_id, Json(_metadata(job, answer))),
    )


def complete_job(tx: cursor, job: BattleJob) -> None:
    """Mark the job as done; the battle's last one opens voting."""
    tx.execute("SELECT fn_worker_complete_battle_job(%s, 'completed')", (job.job_id,))


def bury_job(tx: cursor, job_id: UUID, error: JobError) -> None:
    """Move the job to the platform's dead letters; the battle's last one opens voting all the same."""
    tx.execute("SELECT worker.fn_bury_battle_job(%s, %s, %s)", (job_id, dead_letter_code(error), str(error)))


def dead_letter_code(error: JobError) -> str:
    """The code of a dead letter: the platform's own where transient errors used up every try."""
    if not isinstance(error, RetryLater):
        return error.code
    executor = "chainabit" if error.code.startswith("chainabit.") else "execute"
    return f"{executor}.max_retries_exceeded"


class BattleRetries:
    """Retries as the platform counts them: in the job's row, which also says when the next one is due."""

    def has_tries_left(self, job: BattleJob) -> bool:
        """Whether one more error leaves a try, of the row's `max_retries` or ours if they are fewer."""
        return job.retry_count + 1 < min(job.max_retries, settings().battle_max_retries)

    def put_back(self, tx: cursor, job: BattleJob, error: RetryLater) -> None:
        """Queue the job again after a backoff; a trigger writes the ticket for then."""
        delay_ms = backoff_ms(
            job.retry_count + 1,
            min_ms=settings().retry_min_backoff_ms,
            max_ms=settings().retry_max_backoff_ms,
            after_seconds=error.after_seconds,
        )
        tx.execute(
            "SELECT fn_requeue_battle_job_with_backoff(%s, %s, %s)", (job.job_id, delay_ms, str(error))
        )


def _refuse(problem: str | None) -> None:
    if problem:
        raise GiveUp(problem, _PROBLEMS[problem])


def _metadata(job: BattleJob, answer: Answer) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "provider": answer.provider,
        "model": job.model_key or answer.model,
        "finish_reason": answer.finish_reason,
        "provider_request_id": answer.request_id,
        "token_input": answer.tokens_in,
        "token_output": answer.tokens_out,
        "latency_ms": answer.latency_ms,
        "usage": answer.usage,
    }
    if len(answer.text) > SUBMISSION_MAX_CHARS:
        metadata["cut_from_chars"] = len(answer.text)
    return metadata


def _only(tx: cursor) -> dict[str, Any]:
    row = tx.fetchone()
    assert row is not None
    return dict(row)
