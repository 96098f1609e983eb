"""Battle jobs: one contender of a battle answers the task that all of them were given."""

from __future__ import annotations

from functools import partial

import structlog
from psycopg2.extensions import cursor

from app import battle_prompts, media, providers
from app.claims import Claim
from app.database import database
from app.platform import keys
from app.platform.battles import (
    BattleJob,
    BattleRetries,
    bury_job,
    check_battle,
    complete_job,
    submit_text,
)
from app.providers.chainabit import Session
from app.settings import settings
from app.work import work

log = structlog.get_logger(__name__)

#: Time for everything around the provider call: rendering, keys, and waiting for the database.
AROUND_THE_CALL_MS = 90_000


@work(
    "battle_job",
    queue="battles",
    job=BattleJob,
    fail=bury_job,
    requeue=BattleRetries(),
    time_limit_ms=settings().provider_timeout_ms
    + 2 * settings().media_transfer_timeout_ms
    + AROUND_THE_CALL_MS,
)
def execute_battle_job(claim: Claim[BattleJob]) -> None:
    """Let a contender answer: render its prompt, ask its model or order its medium, hand in what comes."""
    job = claim.job
    check_battle(job)
    if media.hand_in_kept(claim):
        return
    answer = claim.hand.take_one(providers.Answer)
    if answer is None:
        answer = _ask(claim)
    if answer is None:
        return
    claim.finish(partial(_hand_in, job, answer))
    log.info(
        "battle job completed",
        jobId=str(job.job_id),
        battleId=str(job.battle_id),
        slot=job.slot,
        durationMs=answer.latency_ms,
        provider=answer.provider,
        model=job.model_key,
    )


def _ask(claim: Claim[BattleJob]) -> providers.Answer | None:
    """The contender's answer, in hand; None where it is ordered and comes later."""
    job = claim.job
    model = providers.find_model(job.model_key, job.provider_key, job.content_type)
    prompt = battle_prompts.for_battle_job(database(), job)
    key = keys.for_battle_job(database(), settings(), job, model.provider)
    if model.kind != "text":
        media.make(claim, model, prompt, key=key, byok_key_id=job.byok_key_ref_id)
        return None
    if settings().chainabit_execution_enabled:
        media.delegate(claim, _session_for(job, prompt), key=key)
        return None
    answer = providers.ask(model, prompt, key=key, deadline_seconds=settings().provider_timeout_ms / 1000)
    claim.hand.hold(answer)
    return answer


def _hand_in(job: BattleJob, answer: providers.Answer, tx: cursor) -> None:
    submit_text(tx, job, answer)
    complete_job(tx, job)


def _session_for(job: BattleJob, prompt: providers.Prompt) -> Session:
    return Session(
        id=str(job.job_id),
        battle_id=str(job.battle_id),
        slot=job.slot,
        prompt=prompt.text,
        system_prompt=prompt.system,
        provider_key=job.provider_key,
        model_key=job.model_key,
        max_tokens=job.max_tokens,
        temperature=job.temperature,
    )
