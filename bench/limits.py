"""Whether limits hold for all processes together: `python -m bench.limits [--json] [--quick]`.

Four worker processes as the Procfile starts them, on a durable embedded server, and a provider that writes
down when each call came. A limit is kept if no minute, wherever it begins, saw more than it; it is used as
far as the calls between the first and the last minute came at its rate.
"""

from __future__ import annotations

import itertools
import json
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from psycopg2.extensions import connection

from app.local.platform import enqueue_lens_runs, ensure_model
from app.local.provider_scenarios import RETRY_AFTER_SECONDS
from app.local.provider_server import Call, ProviderServer
from app.local.stack import Stack
from bench.command import main
from bench.fleet import inherited_environment, wait_until
from bench.lens_run_sections.platform import prepare_database, worker_command
from bench.report import Figures, at_least, at_most
from bench.server import BenchServer, bench_server, open_session

#: Commands of the Procfile, each of two processes.
COMMANDS = 2
PROCESSES = 2 * COMMANDS
BOOT_SECONDS = 30.0
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")
#: A minute, as providers count.
WINDOW_SECONDS = 60.0

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Fleet:
    """Workers under limits, what they call, and a session."""

    session: connection
    stack: Stack
    providers: ProviderServer

    def queue(self, count: int, model: str, prompt: str = "Say hello.", requester: str = "ada") -> None:
        """Queue equal runs."""
        enqueue_lens_runs(self.session, count, model=model, inputs={"prompt": prompt}, requester=requester)

    def await_calls(self, model: str, count: int, timeout_seconds: float) -> list[Call]:
        """Wait for so many calls of a model and return them."""
        wait_until(self.stack, lambda: len(self.calls(model)) >= count, timeout_seconds)
        return self.calls(model)

    def calls(self, model: str) -> list[Call]:
        """The calls of a model so far."""
        return [call for call in list(self.providers.calls) if call.model == model]


@contextmanager
def fleet(
    server: BenchServer, database: str, limits: dict[str, dict[str, float]], latency_seconds: float
) -> Iterator[Fleet]:
    """Four worker processes under limits."""
    dsn = server.postgres.dsn_for(database)
    with ExitStack() as open_:
        providers = open_.enter_context(ProviderServer(latency_seconds=latency_seconds))
        session = open_.enter_context(closing(open_session(dsn)))
        settings = {
            **inherited_environment(),
            **providers.environment(),
            "OPENAI_API_KEY": "sk-bench-0123456789",
            "DATABASE_URL": dsn,
            "WORKER_PROVIDER_LIMITS": json.dumps(limits),
        }
        for _ in range(COMMANDS):
            folder = server.folder / f"limits-{next(_numbers)}"
            folder.mkdir()
            stack = open_.enter_context(Stack(folder, settings, directory=folder, only={"worker"}))
        for model in MODELS:
            ensure_model(session, model, "openai")
        wait_until(stack, lambda: _leases(session) >= PROCESSES, BOOT_SECONDS)
        yield Fleet(session, stack, providers)


def measure_requests(workers: Fleet, *, seconds: float) -> Figures:
    """Calls a minute, at a limit of 600, with more runs than that queued at once."""
    limit = 600
    count = round(limit * seconds / 60)
    workers.queue(round(count * 1.2), "gpt-4o")
    calls = workers.await_calls("gpt-4o", count, seconds * 2)
    at = [call.received_at for call in calls]
    return {
        "limit_per_minute": limit,
        "calls": len(at),
        "calls_over_limit": at_most(_over(at, [1.0] * len(at), limit), 0),
        "share_used": at_least(_rate(at, [1.0] * len(at)) / limit, 0.95),
    }


def measure_tokens(workers: Fleet, *, seconds: float) -> Figures:
    """Tokens a minute, at a limit of 30,000, with calls of about 120 tokens."""
    limit = 30_000
    prompt = " ".join(["word"] * 60)
    tokens = 2.0 * len(prompt.split()) + 2
    count = round(limit / tokens * seconds / 60)
    workers.queue(round(count * 1.2), "gpt-4o-mini", prompt)
    calls = workers.await_calls("gpt-4o-mini", count, seconds * 3)
    at = [call.received_at for call in calls]
    return {
        "limit_per_minute": limit,
        "tokens": round(tokens * len(at)),
        "tokens_over_limit": at_most(_over(at, [tokens] * len(at), limit), 0),
        "share_used": at_least(_rate(at[len(at) // 4 :], [tokens] * len(at)) / limit, 0.95),
    }


def measure_concurrency(workers: Fleet, *, seconds: float) -> Figures:
    """Calls at once, at a limit of 10, each of half a second."""
    limit = 10
    workers.providers.latency_seconds = 0.5
    count = round(limit * seconds / 0.5)
    workers.providers.max_in_flight = 0
    workers.queue(count, "gpt-4.1")
    calls = workers.await_calls("gpt-4.1", count, seconds * 4)
    at = [call.received_at for call in calls]
    return {
        "limit_at_once": limit,
        "most_at_once": at_most(workers.providers.max_in_flight, limit),
        "share_used": (count - limit) * 0.5 / (at[-1] - at[0]) / limit,
    }


def measure_retry_after(workers: Fleet, *, times: int) -> Figures:
    """Calls that came although the provider had asked to be left alone, of all that could have."""
    workers.providers.latency_seconds = 0.02
    early = 0
    for _ in range(times):
        before = len(workers.calls("gpt-4.1-mini"))
        workers.providers.script("gpt-4.1-mini", ["429"])
        workers.queue(20, "gpt-4.1-mini")
        (asked, *later) = workers.await_calls("gpt-4.1-mini", before + 21, 60)[before:]
        answered_at = asked.received_at + workers.providers.latency_seconds
        # What was on its way when the answer came could not know.
        early += sum(
            answered_at + 0.1 < call.received_at < answered_at + RETRY_AFTER_SECONDS for call in later
        )
    honoured = 1 - early / (20 * times)
    return {"answers_429": times, "calls_too_early": early, "share_honoured": at_least(honoured, 1.0)}


def measure_fairness(workers: Fleet, *, backlog: int) -> Figures:
    """How long ten runs of one owner take behind thousands of another, at 600 calls a minute for both."""
    workers.queue(backlog, "gpt-4o", requester="ada")
    time.sleep(2)
    before = len(workers.calls("gpt-4o"))
    started_at = time.monotonic()
    workers.queue(10, "gpt-4o", "few", requester="grace")
    wait_until(
        workers.stack, lambda: sum(call.prompt == "few" for call in workers.calls("gpt-4o")) >= 10, 120
    )
    return {
        "others_queued": backlog,
        "seconds_for_ten": time.monotonic() - started_at,
        "calls_meanwhile": len(workers.calls("gpt-4o")) - before,
    }


def run(*, quick: bool) -> Figures:
    """Measure and return the report."""
    minute = 10.0 if quick else 90.0
    limits: dict[str, dict[str, float]] = {
        "openai/gpt-4o": {"requests_per_minute": 600},
        "openai/gpt-4o-mini": {"tokens_per_minute": 30_000},
        "openai/gpt-4.1": {"concurrency": 10},
    }
    with bench_server() as server:
        database = prepare_database(server)
        worker = f"{COMMANDS} x {worker_command()}"
        report: Figures = {"machine": {**server.describe(), "workers": worker}}
        with fleet(server, database, limits, 0.05) as workers:
            report["retry_after"] = measure_retry_after(workers, times=2 if quick else 10)
            report["concurrency"] = measure_concurrency(workers, seconds=5 if quick else 20)
            workers.providers.latency_seconds = 0.05
            report["tokens"] = measure_tokens(workers, seconds=minute)
            report["requests"] = measure_requests(workers, seconds=minute)
            report["fairness"] = measure_fairness(workers, backlog=300 if quick else 5000)
    return report


def _over(at: Sequence[float], amounts: Sequence[float], limit: float) -> float:
    """By how much the worst minute is over the limit; 0 when none is."""
    before = [0.0, *itertools.accumulate(amounts)]
    worst = max(
        before[bisect_left(at, start + WINDOW_SECONDS)] - before[first] for first, start in enumerate(at)
    )
    return max(0.0, worst - limit)


def _rate(at: Sequence[float], amounts: Sequence[float]) -> float:
    """What came per minute from the first to the last."""
    return sum(amounts[: len(at) - 1]) / (at[-1] - at[0]) * 60


def _leases(session: connection) -> int:
    with session.cursor() as row:
        row.execute("SELECT count(*) FROM worker.processes WHERE lease_until > now()")
        (count,) = row.fetchone() or (0,)
    return int(count)


if __name__ == "__main__":
    main(run, __doc__)
