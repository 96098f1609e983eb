"""What every test has: a clean environment and, if it asks, a fresh migrated database.

One Postgres serves the whole session. With xdist the controller owns it, since it outlives every worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import hypothesis
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # the fixture has its name

from app.http import guarded_client
from app.local.platform import Seeded, seed
from app.settings import Settings, environment_names, settings
from tests.databases import PROFILES, Databases, connect_as_worker, running_server

#: Which platform the suite runs on, one of PROFILES, where a test doesn't ask for one itself.
PROFILE_VARIABLE = "LF_PLATFORM_PROFILE"

_server_dsn = pytest.StashKey[str]()

# A busy machine makes no property untrue.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["server_dsn"] = _start_server(node.config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take long come first, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def _start_server(config: pytest.Config) -> str:
    if _server_dsn not in config.stash:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        config.stash[_server_dsn] = stack.enter_context(running_server())
    return config.stash[_server_dsn]


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the developer's shell or .env file reaches a test: it has those of its marker alone."""
    for name in environment_names():
        monkeypatch.delenv(name, raising=False)
    for marker in reversed(list(request.node.iter_markers("environment"))):  # a test's own word comes last
        for name, value in marker.kwargs.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    _read_settings_anew()
    yield
    _read_settings_anew()


def _read_settings_anew() -> None:
    settings.cache_clear()
    guarded_client.cache_clear()


@pytest.fixture
def configure(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change settings in the midst of a test: `configure(WORKER_QUEUE="ai")`."""

    def set_all(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        _read_settings_anew()

    return set_all


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    config = request.config
    worker: dict[str, str] | None = getattr(config, "workerinput", None)
    with closing(Databases(worker["server_dsn"] if worker else _start_server(config))) as server:
        yield server


@pytest.fixture
def platform_profile() -> str:
    """The platform's profile; parametrize it by name to have a test run on both."""
    profile = os.environ.get(PROFILE_VARIABLE, "repaired")
    if profile not in PROFILES:
        raise pytest.UsageError(f"{PROFILE_VARIABLE} must be one of {PROFILES}")
    return profile


@pytest.fixture
def dsn(databases: Databases, platform_profile: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh migrated database of the test's own; `settings()` points to it too."""
    with databases.fresh(platform_profile) as fresh:
        monkeypatch.setenv("DATABASE_URL", fresh)
        yield fresh


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with databases.empty() as fresh:
        yield fresh


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """An autocommit session set up like the worker's; `with connection:` makes a transaction."""
    with closing(connect_as_worker(dsn)) as session:
        yield session


@pytest.fixture
def superuser(databases: Databases, dsn: str) -> Iterator[Connection]:
    """The same for the server's superuser, who may do what the platform's owner may not."""
    with closing(connect_as_worker(databases.superuser_dsn(dsn))) as session:
        yield session


@pytest.fixture
def seeded(dsn: str) -> Seeded:
    """The seeds, in the test's database."""
    return seed(dsn)
