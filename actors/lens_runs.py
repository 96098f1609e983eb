"""Lens runs: a person's prompt, or a lens with its inputs, sent to a model once."""

from __future__ import annotations

from functools import partial

import structlog
from psycopg2.extensions import cursor

from app import media, prompts, providers
from app.claims import Claim
from app.database import database
from app.platform import keys
from app.platform.lens_runs import LensRun, complete_run, fail_run, store_artifact
from app.settings import settings
from app.work import work

log = structlog.get_logger(__name__)

#: Time for everything around the provider call: rendering, keys, and waiting for the database.
AROUND_THE_CALL_MS = 90_000


@work(
    "lens_run",
    queue="lens_runs",
    job=LensRun,
    fail=fail_run,
    time_limit_ms=settings().provider_timeout_ms
    + 2 * settings().media_transfer_timeout_ms
    + AROUND_THE_CALL_MS,
)
def execute_lens_run(claim: Claim[LensRun]) -> None:
    """Run one queued lens: render its prompt, ask the model, store the answer; or order its media."""
    if media.hand_in_kept(claim):
        return
    run = claim.job
    answer = claim.hand.take_one(providers.Answer)
    if answer is None:
        model = providers.find_model(run.model_key, run.provider_key, run.output_modality)
        prompt = prompts.for_run(database(), run)
        key = keys.for_run(database(), settings(), run, model.provider)
        if model.kind != "text":
            media.make(claim, model, prompt, key=key, byok_key_id=run.byok_key_ref_id)
            return
        seconds = settings().provider_timeout_ms / 1000
        answer = providers.ask(model, prompt, key=key, deadline_seconds=seconds)
        claim.hand.hold(answer)
    claim.finish(partial(_hand_in, run, answer))
    log.info(
        "processed queued run",
        runId=str(run.run_id),
        requestId=str(run.request_id),
        durationMs=answer.latency_ms,
        provider=answer.provider,
        model=run.model_key,
    )


def _hand_in(run: LensRun, answer: providers.Answer, tx: cursor) -> None:
    complete_run(tx, run, answer, settings().credits_per_usd)
    store_artifact(tx, run, answer)
