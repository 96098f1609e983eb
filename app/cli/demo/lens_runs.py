"""Lens runs in the demo: queue every case, and check how each run ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.lens_run_cases import Case, lens_run_cases
from app.cli.demo.scenario import Tally, merged
from app.local.platform import enqueue_lens_runs, ensure_model
from app.local.provider_server import ProviderServer

_FIND_RUNS = """
    SELECT r.id::text, r.status, r.error_code, r.response_text,
           (SELECT count(*) FROM execution.artifacts a
            WHERE a.run_id = r.id AND a.content_text = r.response_text),
           EXTRACT(epoch FROM c.first_claimed_at - r.created_at)::float * 1000
    FROM execution.runs r LEFT JOIN worker.claims c ON c.kind = 'lens_run' AND c.job = r.id
    WHERE r.id = ANY (%s::uuid[])
"""


class Run(NamedTuple):
    """A run as the database has it; `pickup_ms` is the time from its creation to its first claim."""

    id: str
    status: str
    error_code: str | None
    response_text: str | None
    artifacts: int
    pickup_ms: float | None


class LensRuns:
    """Every case of a lens run, on the provider modules that production uses."""

    kind = "lens_run"
    title = "Lens runs"
    story = "Prompts go to AI models, the answers come back into the database."

    def __init__(self) -> None:
        self._cases = lens_run_cases()
        self._providers: ProviderServer | None = None

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Queue every case's runs in one statement each."""
        self._providers = providers
        for case in self._cases:
            if case.provider:
                ensure_model(session, case.model, case.provider)
            providers.script(case.model, case.mishaps)
            case.run_ids.extend(
                enqueue_lens_runs(
                    session,
                    case.count,
                    model=case.model,
                    inputs=case.inputs,
                    lens=case.lens,
                    funding_source=case.funding_source,
                    byok_key_id=case.byok_key_id,
                )
            )

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each case is; a run that ended is checked in everything it should have left."""
        ids = [str(run_id) for case in self._cases for run_id in case.run_ids]
        with session.cursor() as rows:
            rows.execute(_FIND_RUNS, (ids,))
            runs = {UUID(run.id): run for run in map(Run._make, rows.fetchall())}
        return merged(
            self._tally(case, [runs[run_id] for run_id in case.run_ids if run_id in runs])
            for case in self._cases
        )

    def _tally(self, case: Case, runs: Sequence[Run]) -> Tally:
        statuses = [run.status for run in runs]
        surprises = [f"{case.model} {line}" for run in runs if (line := _surprise(case, run))]
        surprises += ["the provider saw another key than the requester's own"] * self._saw_other_key(case)
        return Tally(
            label=case.label,
            outcome=f"refused: {case.error_code}" if case.error_code else "answered",
            queued=statuses.count("queued"),
            running=statuses.count("running"),
            succeeded=statuses.count("succeeded"),
            failed=len(statuses) - sum(map(statuses.count, ("queued", "running", "succeeded"))),
            surprises=tuple(surprises),
            pickups_ms=tuple(run.pickup_ms for run in runs if run.pickup_ms is not None),
        )

    def _saw_other_key(self, case: Case) -> bool:
        if case.secret is None or self._providers is None:
            return False
        calls = [call for call in list(self._providers.calls) if call.prompt == case.asked]
        return any(call.key != case.secret for call in calls)


def _surprise(case: Case, run: Run) -> str | None:
    """How an ended run differs from what it should be, or None."""
    if run.status in ("queued", "running"):
        return None
    expected = "failed" if case.error_code else "succeeded"
    if (run.status, run.error_code) != (expected, case.error_code):
        return f"{run.status} {run.error_code or ''} instead of {expected} {case.error_code or ''}".strip()
    if case.asked is None:
        return None
    if not (run.response_text or "").endswith(f"says: {case.asked}"):
        return f"answered {run.response_text!r} instead of … says: {case.asked!r}"
    return None if run.artifacts == 1 else f"has {run.artifacts} artifacts with its answer instead of 1"
