"""The numbers of a report, as they are drawn and as they stand in its JSON."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection
from pydantic import BaseModel, Field

from app.cli.report import queries
from app.cli.report.period import Period
from app.cli.sessions import fetch

#: How many dead letters are told one by one.
MOST_LETTERS = 30


class Percentiles(BaseModel):
    """The middle and the slow end, in milliseconds; None where nothing was measured."""

    p50_ms: float | None = None
    p99_ms: float | None = None


class WorkStep(BaseModel):
    """What happened in one step of the period."""

    done: int = 0
    failed: int = 0
    pickup: Percentiles = Percentiles()
    duration: Percentiles = Percentiles()


class KindFigures(BaseModel):
    """One kind of work: `total` over the whole period, and every step of it."""

    kind: str
    total: WorkStep
    steps: list[WorkStep]


class CallStep(BaseModel):
    """Calls to one provider; errors are among the calls."""

    calls: int = 0
    errors: int = 0
    latency: Percentiles = Percentiles()


class ProviderFigures(BaseModel):
    """One provider: `total` over the whole period, every step of it, and errors by code."""

    provider: str
    total: CallStep
    steps: list[CallStep]
    errors: dict[str, int]


class ModelFigures(BaseModel):
    """What one model used; `cost_usd` is that of the calls that had a price, None where none had."""

    provider: str
    model: str
    calls: int
    errors: int
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal | None


class HostFigures(BaseModel):
    """Webhooks to one host: requests and their errors, and what became of the webhooks themselves."""

    host: str
    requests: int
    errors: int
    delivered: int
    waiting: int
    dead: int
    latency: Percentiles


class WebhookStep(BaseModel):
    """Requests to receivers in one step."""

    done: int = 0
    failed: int = 0


class LetterGroup(BaseModel):
    """Dead letters of one kind with one reason."""

    kind: str
    code: str | None
    count: int
    newest_at: datetime


class Letter(BaseModel):
    """One dead letter."""

    kind: str
    job: UUID
    code: str | None
    message: str | None
    attempts: int
    deaths: int
    finished_at: datetime


class WorkerFigures(BaseModel):
    """One worker process: the mean number of jobs at work in each step, and the deaths in it."""

    worker_id: str
    loads: list[float]
    deaths: list[int]


class Figures(BaseModel):
    """Everything that a report shows."""

    period: Period
    version: str = Field(default_factory=lambda: version("lf-worker"))
    kinds: list[KindFigures]
    providers: list[ProviderFigures]
    models: list[ModelFigures]
    webhook_steps: list[WebhookStep]
    webhook_hosts: list[HostFigures]
    letter_groups: list[LetterGroup]
    newest_letters: list[Letter]
    workers: list[WorkerFigures]


def read_figures(session: connection, hours: float) -> Figures:
    """Ask the database for everything that a report of the last hours shows."""
    period = Period.before(fetch(session, "SELECT now() AS now")[0]["now"], hours)
    terms = {"begin": period.begin, "step": period.step_seconds, "steps": period.steps}

    def ask(statement: str) -> list[dict[str, Any]]:
        return fetch(session, statement, {**terms, "letters": MOST_LETTERS})

    return Figures(
        period=period,
        kinds=_kinds(period, ask(queries.ENDS), ask(queries.PICKUPS)),
        providers=_providers(period, ask(queries.CALLS), ask(queries.PROVIDER_ERRORS)),
        models=[ModelFigures(**row) for row in ask(queries.MODELS)],
        webhook_steps=_webhook_steps(period, ask(queries.WEBHOOK_STEPS)),
        webhook_hosts=[
            HostFigures(**row, latency=_percentiles(row, "latency")) for row in ask(queries.WEBHOOK_HOSTS)
        ],
        letter_groups=[LetterGroup(**row) for row in ask(queries.LETTER_GROUPS)],
        newest_letters=[Letter(**row) for row in ask(queries.NEWEST_LETTERS)],
        workers=_workers(period, ask(queries.WORKER_LOADS), ask(queries.WORKER_DEATHS)),
    )


def _kinds(period: Period, ends: list[dict[str, Any]], pickups: list[dict[str, Any]]) -> list[KindFigures]:
    found: dict[str, KindFigures] = {}
    for row in [*ends, *pickups]:
        steps = [WorkStep() for _ in range(period.steps)]
        kind = found.setdefault(row["kind"], KindFigures(kind=row["kind"], total=WorkStep(), steps=steps))
        step = kind.total if row["step"] is None else kind.steps[row["step"]]
        if "done" in row:
            step.done, step.failed = row["done"], row["failed"]
            step.duration = _percentiles(row, "duration")
        else:
            step.pickup = _percentiles(row, "pickup")
    return sorted(found.values(), key=lambda kind: kind.kind)


def _providers(
    period: Period, calls: list[dict[str, Any]], errors: list[dict[str, Any]]
) -> list[ProviderFigures]:
    codes: dict[str, dict[str, int]] = defaultdict(dict)
    for row in errors:
        codes[row["provider"]][row["code"]] = row["count"]
    found: dict[str, ProviderFigures] = {}
    for row in calls:
        name = row["provider"]
        steps = [CallStep() for _ in range(period.steps)]
        provider = found.setdefault(
            name, ProviderFigures(provider=name, total=CallStep(), steps=steps, errors=codes[name])
        )
        made = CallStep(calls=row["calls"], errors=row["errors"], latency=_percentiles(row, "latency"))
        if row["step"] is None:
            provider.total = made
        else:
            provider.steps[row["step"]] = made
    return list(found.values())


def _webhook_steps(period: Period, rows: list[dict[str, Any]]) -> list[WebhookStep]:
    steps = [WebhookStep() for _ in range(period.steps)]
    for row in rows:
        steps[row.pop("step")] = WebhookStep(**row)
    return steps


def _workers(
    period: Period, loads: list[dict[str, Any]], deaths: list[dict[str, Any]]
) -> list[WorkerFigures]:
    found: dict[str, WorkerFigures] = {}
    for row in [*loads, *deaths]:
        name = row["worker_id"]
        worker = found.setdefault(
            name, WorkerFigures(worker_id=name, loads=[0.0] * period.steps, deaths=[0] * period.steps)
        )
        if "load" in row:
            worker.loads[row["step"]] = row["load"]
        else:
            worker.deaths[row["step"]] = row["deaths"]
    return sorted(found.values(), key=lambda worker: worker.worker_id)


def _percentiles(row: dict[str, Any], name: str) -> Percentiles:
    return Percentiles(p50_ms=row[f"{name}_p50_ms"], p99_ms=row[f"{name}_p99_ms"])
