"""`lf-worker doctor` names work that nobody will ever get on with, and what does."""

from __future__ import annotations

import multiprocessing
from types import SimpleNamespace
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.cli.doctor.battles import check_battles
from app.cli.doctor.finding import Check, Finding, Level
from app.cli.doctor.unclaimed import check_unclaimed
from app.cli.doctor.work import check_heartbeats
from app.local.battles import make_battles, start_battles
from app.local.platform import enqueue_lens_run
from app.local.teams import enqueue_team_run, make_agent
from app.local.votes import open_vote
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.battle_rows import GPT, MINI, queue_battle
from tests.integration.conftest import running_worker
from tests.integration.doctor_checks import findings_of
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("seeded")


CHECKS: dict[str, Check] = {
    "unclaimed": check_unclaimed,
    "battles": check_battles,
    "heartbeats": check_heartbeats,
}


def found(area: str) -> list[Finding]:
    return findings_of(CHECKS[area])


def the_stuck(area: str) -> Finding:
    (finding,) = found(area)
    assert finding.level is Level.WARNING
    assert finding.why
    assert finding.mend
    return finding


def nothing_is_stuck() -> bool:
    return [finding.level for area in ("unclaimed", "battles") for finding in found(area)] == [
        Level.FINE,
        Level.FINE,
    ]


def age(session: Connection, table: str, row_id: UUID, column: str = "created_at") -> None:
    """Have it happened an hour ago."""
    session.cursor().execute(
        f"UPDATE {table} SET {column} = now() - interval '1 hour' WHERE id = %s", (row_id,)
    )


def carry_out(session: Connection, mend: str) -> None:
    """The statement of a remedy, without the words around it."""
    begin = mend.index("UPDATE ")
    end = mend.index("'", mend.index("WHERE r.id = '") + len("WHERE r.id = '")) + 1
    session.cursor().execute(mend[begin:end])


# Runs


@pytest.mark.parametrize("trigger_mode", ["manual", "subflow"])
def test_a_pending_run_that_only_a_browser_executes_is_named_and_can_be_queued(
    connection: Connection, trigger_mode: str
) -> None:
    run = enqueue_workflow_run(connection, make_workflow(connection).workflow_id, trigger_mode=trigger_mode)
    assert nothing_is_stuck()
    age(connection, "lenses.workflow_runs", run)
    stuck = the_stuck("unclaimed")
    assert stuck.what == (
        "1 workflow runs are pending, of a mode that only a browser executes, and none is at them: "
        + str(run)
    )
    carry_out(connection, stuck.mend)
    assert nothing_is_stuck()
    assert call(connection, "SELECT count(*) FROM worker.waiting_workflow_runs WHERE id = %s", run) == 1


def test_a_run_that_a_browser_is_at_and_one_of_the_api_are_not_stuck(connection: Connection) -> None:
    workflow = make_workflow(connection).workflow_id
    browsed = enqueue_workflow_run(connection, workflow, trigger_mode="manual")
    for run in (browsed, enqueue_workflow_run(connection, workflow)):
        age(connection, "lenses.workflow_runs", run)
    connection.cursor().execute(
        "UPDATE lenses.workflow_node_results SET status = 'running' WHERE id = ("
        " SELECT id FROM lenses.workflow_node_results WHERE run_id = %s LIMIT 1)",
        (browsed,),
    )
    assert nothing_is_stuck()


def test_a_run_whose_approval_nobody_can_give_is_named(connection: Connection) -> None:
    workflow = make_workflow(connection).workflow_id
    run = enqueue_workflow_run(connection, workflow, trigger_mode="schedule", status="pending_approval")
    approved = enqueue_workflow_run(connection, workflow, trigger_mode="schedule", status="pending_approval")
    enqueue_team_run(
        connection,
        make_agent(connection, "a reader"),
        workflow_id=workflow,
        workflow_run_id=approved,
        status="blocked",
        approval_status="pending",
    )
    for each in (run, approved):
        age(connection, "lenses.workflow_runs", each)
    stuck = the_stuck("unclaimed")
    assert "an approval that nobody can give" in stuck.what
    assert str(run) in stuck.what
    assert str(approved) not in stuck.what
    carry_out(connection, stuck.mend)
    assert nothing_is_stuck()


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"approval_status": "pending"}, "1 team runs are queued without the approval that they need"),
        ({"status": "running", "approval_status": "pending"}, "1 team runs are running, and not with us"),
    ],
    ids=["a retry", "made as running"],
)
def test_a_team_run_that_no_worker_claims_is_named_and_can_be_queued(
    connection: Connection, columns: dict[str, str], what: str
) -> None:
    workflow = make_workflow(connection).workflow_id
    run = enqueue_team_run(connection, make_agent(connection, "a reader"), workflow_id=workflow, **columns)
    age(connection, "agents.team_runs", run)
    stuck = the_stuck("unclaimed")
    assert stuck.what == f"{what}: {run}"
    carry_out(connection, stuck.mend)
    assert nothing_is_stuck()
    assert call(connection, "SELECT count(*) FROM worker.waiting_team_runs WHERE id = %s", run) == 1


def test_a_queued_lens_run_that_is_switched_off_is_named(connection: Connection) -> None:
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    age(connection, "execution.runs", run)
    assert nothing_is_stuck()
    connection.cursor().execute("UPDATE execution.requests SET is_active = false WHERE true")
    assert (
        the_stuck("unclaimed").what
        == f"1 lens runs are queued and switched off, or their requests are: {run}"
    )


def test_a_media_run_without_a_model_is_named(connection: Connection) -> None:
    run = enqueue_lens_run(
        connection, model="sora-2", inputs={"prompt": "x"}, output_modality="video", requester="ada"
    )
    connection.cursor().execute(
        "UPDATE execution.runs SET status = 'running', is_async = true, provider_task_id = 'gen_1',"
        " started_at = now() WHERE id = %s",
        (run,),
    )
    age(connection, "execution.runs", run)
    assert nothing_is_stuck()
    connection.cursor().execute(
        "UPDATE execution.runs SET model_id = NULL WHERE true; UPDATE execution.requests SET model_id = NULL"
        " WHERE true"
    )
    stuck = the_stuck("unclaimed")
    assert stuck.what == (
        "1 media runs are at a provider, and name no model: it isn't known whom to ask for them: " + str(run)
    )


def test_many_runs_are_counted_and_the_newest_named(connection: Connection) -> None:
    workflow = make_workflow(connection).workflow_id
    runs = [enqueue_workflow_run(connection, workflow, trigger_mode="manual") for _ in range(7)]
    for run in runs:
        age(connection, "lenses.workflow_runs", run)
    what = the_stuck("unclaimed").what
    assert what.startswith("7 workflow runs")
    assert what.endswith(" and 2 more")
    assert sum(str(run) in what for run in runs) == 5


# Battles


def due_battle(connection: Connection, *contenders: object, **columns: object) -> UUID:
    (battle,) = make_battles(connection, 1, *contenders, task_prompt="Praise the sea", **columns)  # type: ignore[arg-type]
    age(connection, "battles.battles", battle, "execution_starts_at")
    return battle


def closed_vote(connection: Connection, title: str) -> UUID:
    """A battle whose voting was over an hour ago."""
    battle = open_vote(connection, title)
    connection.cursor().execute(
        "UPDATE battles.battles SET voting_opens_at = now() - interval '2 hours',"
        " voting_closes_at = now() - interval '1 hour' WHERE id = %s",
        (battle,),
    )
    return battle


def test_a_due_battle_whose_jobs_the_platform_refuses_is_named_with_its_refusal(
    connection: Connection,
) -> None:
    battle = due_battle(connection, GPT, MINI, GPT)
    start_battles(connection)
    stuck = the_stuck("battles")
    assert stuck.what.startswith(f"battle {battle} (")
    assert "is due and was not started: 23514 " in stuck.what
    assert "battle_execution_jobs" in stuck.what
    assert call(connection, "SELECT status FROM battles.battles WHERE id = %s", battle) == "open"
    assert call(connection, "SELECT count(*) FROM battles.battle_execution_jobs") == 0
    assert call(connection, "SELECT count(*) FROM dramatiq.queue") == 0


def test_a_due_battle_with_one_contender_is_named(connection: Connection) -> None:
    due_battle(connection, GPT)
    assert the_stuck("battles").what.endswith("is due and was not started: it has fewer than two contenders")


def test_a_due_battle_that_nobody_looked_at_is_named(connection: Connection) -> None:
    due_battle(connection, GPT, MINI)
    stuck = the_stuck("battles")
    assert "the minute sweep did not get to it" in stuck.what
    assert "periodiq app.schedules" in stuck.mend
    start_battles(connection)
    assert nothing_is_stuck()


def test_a_draft_that_is_to_open_and_can_not_is_named_with_its_blockers(connection: Connection) -> None:
    (battle,) = make_battles(
        connection, 1, GPT, task_prompt="Praise the sea", status="draft", auto_promote=True
    )
    age(connection, "battles.battles", battle)
    assert the_stuck("battles").what.endswith("is to open by itself and can't: insufficient_contenders:1")


def test_a_battle_that_executes_without_a_job_is_named(connection: Connection) -> None:
    battle = queue_battle(connection)
    age(connection, "battles.battles", battle, "executing_started_at")
    assert nothing_is_stuck()  # its jobs wait for a worker, which is another finding
    connection.cursor().execute("DELETE FROM battles.battle_execution_jobs WHERE true")
    assert the_stuck("battles").what.endswith("executes and can't go to the vote: it has no jobs")


def test_a_battle_with_a_job_that_was_cancelled_is_named(connection: Connection) -> None:
    battle = queue_battle(connection)
    connection.cursor().execute(
        "UPDATE battles.battle_execution_jobs SET status = 'failed', completed_at = now() - interval '1 hour'"
        " WHERE battle_id = %s",
        (battle,),
    )
    age(connection, "battles.battles", battle, "executing_started_at")
    assert the_stuck("battles").what.endswith("can't go to the vote: a job of it was cancelled")


def test_a_vote_that_is_over_and_can_not_be_closed_is_named_with_the_platforms_reason(
    connection: Connection,
) -> None:
    battle = closed_vote(connection, "Haiku")
    connection.cursor().execute(
        "CREATE FUNCTION battles.fn_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no result today' USING ERRCODE = 'P0042'; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON battles.battles FOR EACH ROW"
        " WHEN (NEW.status = 'scoring') EXECUTE FUNCTION battles.fn_refuse()"
    )
    stuck = the_stuck("battles")
    assert stuck.what.startswith(f"battle {battle} (Haiku) can't be closed: P0042 no result today")
    assert call(connection, "SELECT status FROM battles.battles WHERE id = %s", battle) == "voting"


def test_a_vote_that_waits_for_an_ai_judge_and_one_without_an_end_are_named(connection: Connection) -> None:
    judged = closed_vote(connection, "Judged")
    endless = open_vote(connection, "Endless", closes_in_hours=24)
    assert found("battles")[0].what.startswith(f"battle {judged}")
    connection.cursor().execute("UPDATE battles.battles SET ai_judge_enabled = true WHERE id = %s", (judged,))
    connection.cursor().execute(
        "UPDATE battles.battles SET voting_closes_at = NULL, created_at = now() - interval '2 days'"
        " WHERE id = %s",
        (endless,),
    )
    whats = {finding.what for finding in found("battles")}
    assert whats == {
        f"battle {judged} (Judged) can't be closed: it waits for the verdict of its AI judge",
        f"battle {endless} (Endless) can't be closed: its voting has no end",
    }


# Heartbeats


def test_processes_are_alive_under_the_name_that_they_beat_as(
    broker: LeaseBroker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process of a worker has a number, which its lease and its heartbeat both carry."""
    monkeypatch.setenv("FEATURE_WORKER_HEALTH_MONITORING", "true")
    monkeypatch.setenv("WORKER_ID", "vm")
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(name="Process-2"))
    call(connection, "SELECT fn_worker_upsert_heartbeat('vm:2', 'lf-worker', '{}')")
    with running_worker(broker):
        eventually(
            lambda: call(connection, "SELECT worker_id FROM worker.processes") == "vm:2", what="a lease"
        )
        assert [(finding.level, finding.what) for finding in found("heartbeats")] == [(Level.FINE, "fresh")]
