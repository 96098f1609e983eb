from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pytest

from app.boot import build_broker
from app.broker import LeaseBroker
from app.database import Database, database
from app.settings import settings


@pytest.fixture(autouse=True)
def no_polls(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes by the poll for lost notifications in time: what is done was heard of, however late."""
    monkeypatch.setenv("WORKER_BROKER_POLL_SECONDS", "3600")


@pytest.fixture
def jobs_database(dsn: str) -> Iterator[Database]:
    """The pool that the code under test uses, on the test's own database."""
    database.cache_clear()
    yield database()
    database().close()
    database.cache_clear()


@pytest.fixture
def broker(jobs_database: Database) -> Iterator[LeaseBroker]:
    """The worker's broker as a process has it, with no actors yet."""
    built = build_broker(settings())
    dramatiq.set_broker(built)
    yield built
    built.close()


@contextmanager
def running_worker(broker: LeaseBroker, *, threads: int = 4, timeout_ms: int = 10_000) -> Iterator[None]:
    """A worker on the broker, in this process; it stops the way it does after SIGTERM."""
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=threads)
    worker.start()
    try:
        yield
    finally:
        worker.stop(timeout=timeout_ms)
