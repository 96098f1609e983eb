"""Effects of workflow nodes: begun once, known by their receipt, forgotten in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.node_effects import Effect, Standing, begin, begin_in, forget, keep_receipt, keep_receipt_in
from tests.integration.workflow_rows import rows, update
from tests.sql import call


@pytest.fixture
def effect() -> Effect:
    return Effect(uuid4(), uuid4(), "email")


def test_an_effect_is_new_then_unknown_then_sent(jobs_database: Database, effect: Effect) -> None:
    assert begin(jobs_database, effect).standing is Standing.NEW
    assert begin(jobs_database, effect).standing is Standing.UNKNOWN
    keep_receipt(jobs_database, effect, {"id": "1", "odd": "a\x00b"})
    found = begin(jobs_database, effect)
    assert (found.standing, found.receipt) == (Standing.SENT, {"id": "1", "odd": "a\ufffdb"})
    assert begin(jobs_database, replace(effect, name="other")).standing is Standing.NEW


def test_what_certainly_did_not_happen_is_forgotten_and_what_did_is_not(
    jobs_database: Database, effect: Effect
) -> None:
    begin(jobs_database, effect)
    forget(jobs_database, effect)
    assert begin(jobs_database, effect).standing is Standing.NEW
    keep_receipt(jobs_database, effect, {})
    forget(jobs_database, effect)
    assert begin(jobs_database, effect).standing is Standing.SENT


def test_of_equal_effects_at_once_one_begins(jobs_database: Database, effect: Effect) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: begin(jobs_database, effect).standing, range(8)))
    assert sorted(begun) == [Standing.NEW, *[Standing.UNKNOWN] * 7]


def test_a_limit_holds_for_a_run_also_at_once(jobs_database: Database) -> None:
    run_id = uuid4()
    effects = [Effect(run_id, uuid4(), "email") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda each: begin(jobs_database, each, most_per_run=5).standing, effects))
    assert (begun.count(Standing.NEW), begun.count(Standing.OVER_LIMIT)) == (5, 3)
    assert begin(jobs_database, Effect(uuid4(), uuid4(), "email"), most_per_run=5).standing is Standing.NEW


def test_an_effect_of_a_transaction_is_known_when_it_has_happened(
    jobs_database: Database, effect: Effect
) -> None:
    with pytest.raises(ZeroDivisionError), jobs_database.transaction() as tx:
        assert begin_in(tx, effect).standing is Standing.NEW
        raise ZeroDivisionError
    with jobs_database.transaction() as tx:
        assert begin_in(tx, effect).standing is Standing.NEW
        keep_receipt_in(tx, effect, {"webhookId": "2"})
    with jobs_database.transaction() as tx:
        assert begin_in(tx, effect).receipt == {"webhookId": "2"}


def test_effects_are_kept_as_long_as_their_run_is_open(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    open_run, ended_run = (enqueue_workflow_run(connection, workflow.workflow_id) for _ in range(2))
    update(connection, "lenses.workflow_runs", ended_run, status="completed")
    for run_id in (open_run, ended_run, uuid4()):
        begin(jobs_database, Effect(run_id, uuid4(), "email"))
    assert call(connection, "SELECT worker.prune_workflow_runs(interval '1 day')") == 0
    call(connection, "UPDATE worker.node_effects SET begun_at = now() - interval '2 days' RETURNING 1")
    assert call(connection, "SELECT worker.prune_workflow_runs(interval '1 day')") == 2
    assert rows(connection, "SELECT run_id FROM worker.node_effects") == [{"run_id": open_run}]
