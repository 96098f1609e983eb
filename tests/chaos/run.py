"""One run of chaos from an empty database to the findings."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2

from app.local.platform import seed as seed_platform
from app.local.postgres import EmbeddedPostgres
from app.local.services.messengers import Messengers
from app.local.storage_server import StorageServer
from app.migrations import migrate
from app.settings import environment_names
from tests.chaos import terms
from tests.chaos.crew import Crew
from tests.chaos.evidence import Evidence
from tests.chaos.faults import Faults
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.outside import Providers, Receivers, Spells
from tests.chaos.quiet import describe_hindrances, describe_messages, hurry_sweeps, what_is_open
from tests.databases import connect_as_worker

#: Without faults at first: what is done twice then has no excuse.
CALM_SECONDS = 10.0
PAUSE_SECONDS = (1.5, 4.0)
DRAIN_SECONDS = 120.0
#: A drain is helped along when it has to wait for the sweeps of the minute.
HURRY_SECONDS = 8.0
LEASE_SECONDS = 4.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long faults go on, their seed, and how long the rest of the work may take afterwards.

    `faults` names those that there shall be, all where it is empty; `overlays` are SQL files that are applied
    to the migrated database.
    """

    fault_seconds: float
    seed: int
    calm_seconds: float = CALM_SECONDS
    drain_seconds: float = DRAIN_SECONDS
    faults: Collection[str] = ()
    overlays: Sequence[Path] = ()


def run(plan: Plan, folder: Path, say: Say) -> Evidence:
    """Have everything happen; what was seen of it is handed to the checks while the stack is still up."""
    ledger = Ledger()
    with _stage(plan, folder, ledger) as stage:
        started_at = time.time()
        _tend(stage, plan.calm_seconds)
        _do_faults(plan, stage, ledger, say)
        stage.providers.spells.clear()
        stage.receivers.spells.clear()
        say("Faults are over.")
        stage.load.stop_producing()
        left = _drain(plan, stage, say)
        stage.load.stop()
        if stage.load.failure is not None:
            raise stage.load.failure
        with closing(connect_as_worker(stage.server.dsn)) as session:
            return Evidence.gather(
                session,
                ledger=ledger,
                load=stage.load,
                providers=stage.providers,
                receivers=stage.receivers,
                messages=list(stage.messengers.messages["discord"]),
                crew=stage.crew,
                left=left,
                seconds=time.time() - started_at,
            )


@dataclass
class _Stage:
    server: EmbeddedPostgres
    providers: Providers
    receivers: Receivers
    messengers: Messengers
    crew: Crew
    load: Load
    seed: int


@contextmanager
def _stage(plan: Plan, folder: Path, ledger: Ledger) -> Iterator[_Stage]:
    """A seeded platform with all processes at work on it, and work that is queued."""
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedPostgres(folder / "data", durable=False))
        migrate(server.dsn, platform=True)
        seed_platform(server.dsn)
        with closing(connect_as_worker(server.dsn)) as session:
            terms.agree(session)
        for overlay in plan.overlays:
            _apply(server.dsn, overlay)
        providers = stack.enter_context(Providers(Spells(plan.seed + 1)))
        receivers = stack.enter_context(Receivers(Spells(plan.seed + 2)))
        messengers = stack.enter_context(Messengers())
        storage = stack.enter_context(StorageServer())
        environment = {
            **_own_environment(server.dsn),
            **messengers.environment(),
            **storage.environment(),
            **providers.environment(),
            "WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1",
        }
        load = Load(
            server.dsn,
            plan.seed + 3,
            receiver_url=receivers.url(""),
            discord_url=messengers.discord_webhook,
        )
        crew = Crew(environment, folder, ledger)
        stack.callback(crew.stop)
        crew.tend()
        load.start()
        yield _Stage(server, providers, receivers, messengers, crew, load, plan.seed)


def _own_environment(dsn: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in environment_names()}
    return {
        **inherited,
        "DATABASE_URL": dsn,
        "PLATFORM_API_BATTLE_WORKER_ENABLED": "true",
        "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true",
        "PLATFORM_API_TEAM_RUN_WORKER_ENABLED": "true",
        "BATTLE_WORKER_MAX_RETRIES": "10",
        "WORKER_BROKER_LEASE_SECONDS": str(LEASE_SECONDS),
        # A frozen worker is taken for dead when its lease is over, and not given the benefit of the doubt.
        "WORKER_BROKER_STALL_SECONDS": str(LEASE_SECONDS),
        "WORKER_JOB_MAX_ATTEMPTS": "12",
        "WORKER_JOB_MAX_DEATHS": "8",
        "WORKER_RETRY_MIN_BACKOFF_MS": "100",
        "WORKER_RETRY_MAX_BACKOFF_MS": "1000",
        "WORKER_WORKFLOW_HEARTBEAT_MS": "1000",
        "WORKER_PROVIDER_TIMEOUT_MS": "20000",
        **terms.environment(),
        "WORKER_BREAKER_OPEN_SECONDS": "1",
        "WORKER_WEBHOOK_TIMEOUT_MS": "3000",
        "WORKER_WEBHOOK_RETRY_DELAYS_SECONDS": ",".join(["1"] * 40),
        "ASYNC_MEDIA_POLL_INTERVAL_MS": "200",
        "WORKER_REALTIME_SOURCE": "postgres",
        "WORKER_RUN_EVENT_TRANSPORT": "database",
    }


def _apply(dsn: str, overlay: Path) -> None:
    with closing(psycopg2.connect(dsn)) as session, session:
        session.cursor().execute(overlay.read_text(encoding="utf-8"))


def _do_faults(plan: Plan, stage: _Stage, ledger: Ledger, say: Say) -> None:
    dice = random.Random(plan.seed)
    faults = Faults(
        dice,
        ledger,
        stage.crew,
        stage.server,
        stage.providers.spells,
        stage.receivers.spells,
        only=plan.faults,
    )
    until = time.monotonic() + plan.fault_seconds
    while time.monotonic() < until:
        before = len(ledger.faults)
        faults.next()
        for fault in ledger.faults[before:]:
            at = datetime.fromtimestamp(fault.began_at, UTC)
            say(f"{at:%H:%M:%S} {fault.name} {fault.target or ''}".rstrip())
        _tend(stage, dice.uniform(*PAUSE_SECONDS))
    while stage.crew.is_frozen:
        _tend(stage, 0.1)


def _tend(stage: _Stage, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stage.crew.tend()
        time.sleep(0.05)


def _drain(plan: Plan, stage: _Stage, say: Say) -> dict[str, int]:
    """Wait until nothing is left to be done; returns what still was when the time was up."""
    began = hurried = time.monotonic()
    while True:
        _tend(stage, 0.3)
        with closing(connect_as_worker(stage.server.dsn)) as session:
            left = what_is_open(session)
            now = time.monotonic()
            if not left or now > began + plan.drain_seconds:
                say(f"Drained in {now - began:.1f} s." if not left else f"Left: {left}")
                for line in (*describe_messages(session), *(describe_hindrances(session) if left else ())):
                    say(line)
                return left
            if now > hurried + HURRY_SECONDS:
                hurried = now
                say(f"Waiting for {left}")
                hurry_sweeps(session)
