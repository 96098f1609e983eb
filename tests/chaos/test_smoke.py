"""A short run of chaos; `make chaos` has the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run
from tests.chaos.summary import summarise

pytestmark = [pytest.mark.lifecycle, pytest.mark.chaos]


def test_every_kind_of_work_survives_kills_lost_sessions_and_a_crash_of_postgres(tmp_path: Path) -> None:
    faults = ("kill_worker", "end_sessions", "crash_postgres", "spoil_providers")
    plan = Plan(fault_seconds=8, seed=5, calm_seconds=5, drain_seconds=75, faults=faults)
    summary = summarise(plan, run(plan, tmp_path, print))
    assert [invariant for invariant in summary["invariants"] if not invariant["ok"]] == []
    assert set(summary["jobs"]) >= {"text", "battle", "workflow run", "webhook", "vote"}
