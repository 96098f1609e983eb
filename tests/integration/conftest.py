from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import dramatiq
import pytest

from app.boot import build_broker
from app.broker import LeaseBroker
from app.database import Database
from app.database import database as shared_database
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.settings import settings


@pytest.fixture(autouse=True)
def no_polls(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes by the poll for lost notifications in time: what is done was heard of, however late."""
    monkeypatch.setenv("WORKER_BROKER_POLL_SECONDS", "3600")


@pytest.fixture
def jobs_database(dsn: str) -> Iterator[Database]:
    """The pool that the code under test uses, on the test's own database."""
    shared_database.cache_clear()
    yield shared_database()
    shared_database().close()
    shared_database.cache_clear()


@pytest.fixture
def database(jobs_database: Database, seeded: Seeded) -> Database:
    """The same on a seeded platform, for tests that do the work by hand instead of in a worker."""
    return jobs_database


@pytest.fixture
def provider(configure: Callable[..., None]) -> Iterator[ProviderServer]:
    """Providers on a real wire, with a key for OpenAI; what failed is tried again without a pause."""
    with ProviderServer() as server:
        usual = {
            "OPENAI_API_KEY": "sk-platform-planted-0123456789",
            "WORKER_RETRY_MIN_BACKOFF_MS": "1",
            "WORKER_WORKFLOW_HEARTBEAT_MS": "100",
        }
        configure(**server.environment(), **{name: usual[name] for name in usual.keys() - os.environ.keys()})
        yield server


@pytest.fixture
def broker(jobs_database: Database) -> Iterator[LeaseBroker]:
    """The worker's broker as a process has it, with no actors yet."""
    built = build_broker(settings())
    dramatiq.set_broker(built)
    yield built
    built.close()


def import_afresh(*modules: str) -> list[ModuleType]:
    """Import modules as a new process does: those of actors declare them on the broker that is set now."""
    for name in modules:
        sys.modules.pop(name, None)
    return [importlib.import_module(name) for name in modules]


@contextmanager
def running_worker(
    broker: LeaseBroker, *actors: str, threads: int = 4, timeout_ms: int = 10_000
) -> Iterator[None]:
    """A worker on the broker, in this process, with the actors of modules that have yet to be imported.

    It stops the way it does after SIGTERM.
    """
    import_afresh(*actors)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=threads)
    worker.start()
    try:
        yield
    finally:
        worker.stop(timeout=timeout_ms)
