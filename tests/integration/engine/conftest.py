from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.broker import LeaseBroker
from app.local.platform import Seeded
from app.nodes import registry
from app.nodes.task import Task
from app.workflow import Output
from tests.integration.conftest import running_worker


@pytest.fixture
def worker(broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.workflow_runs"):
        yield


@pytest.fixture
def make_type(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Task[Any]], Output]], None]:
    """A type of node for one test."""
    monkeypatch.setattr(registry, "_types", dict(registry.node_types()))
    return lambda name, run: registry.node_type(name)(run)
