"""Team runs as rows: who is taken, within which limits, what members write, and how runs end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import DatabaseAway, GiveUp, StaleClaim
from app.local.platform import Seeded
from app.local.teams import SeededTeam, enqueue_team_run, make_agent, make_team
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.team_runs import (
    TeamMessage,
    TeamRun,
    TeamStep,
    append_event,
    delegate,
    fail_team_run,
    finish_team_run,
    merge_scratchpad,
    requires_review,
    save_step,
    send_message,
)
from app.platform.workflows import NodeWrite, Verdict, fetch_graph
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    rows,
    run_row,
    team_row,
    tickets,
    update,
)
from tests.sql import call, sqlstate_of


@pytest.fixture
def team(connection: Connection, seeded: Seeded) -> SeededTeam:
    return make_team(connection)


@pytest.fixture
def agent(connection: Connection, seeded: Seeded) -> UUID:
    return make_agent(connection, "Nia", persona="Be brief.", model="gpt-4o")


def events(connection: Connection) -> list[str]:
    found = rows(connection, "SELECT event_type FROM agents.agent_run_events ORDER BY occurred_at")
    return [row["event_type"] for row in found]


@BOTH_PLATFORMS
def test_a_claimed_team_run_has_its_members_in_order_and_a_workflow_run(
    jobs_database: Database, connection: Connection, seeded: Seeded, team: SeededTeam
) -> None:
    workflow = make_workflow(connection)
    team_run = enqueue_team_run(
        connection, team.lead_id, workflow_id=workflow.workflow_id, team_id=team.team_id, inputs={"task": "x"}
    )
    run = TeamRun.model_validate(must_claim(jobs_database, "team_run").job)
    assert [(member.display_name, member.role) for member in run.members] == [
        ("Lena", "leader"),
        ("Emil", "executor"),
        ("Rosa", "reviewer"),
    ]
    assert (run.team_run_id, run.inputs, run.owner_lenser_id) == (
        team_run,
        {"task": "x"},
        seeded.people["ada"],
    )
    assert run.workflow_run_id is not None
    linked = run_row(connection, run.workflow_run_id)
    assert (linked["status"], linked["trigger_mode"], linked["context_inputs"]) == (
        "running",
        "subflow",
        {"task": "x"},
    )
    assert linked["triggered_by"] == seeded.people["ada"]
    assert set(node_statuses(connection, run.workflow_run_id)) == set(workflow.nodes.values())
    assert fetch_graph(jobs_database, run.workflow_run_id) is not None
    assert events(connection) == ["dispatch_started"]


def test_an_agent_alone_needs_neither_team_nor_workflow(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    enqueue_team_run(connection, agent, inputs={"task": "x"})
    run = TeamRun.model_validate(must_claim(jobs_database, "team_run").job)
    assert (run.members, run.workflow_run_id) == ([], None)
    assert (run.display_name, run.persona, run.model_key) == ("Nia", "Be brief.", "gpt-4o")


@pytest.mark.parametrize(
    ("status", "approval", "is_taken"),
    [
        ("queued", "not_required", True),
        ("queued", "approved", True),
        ("queued", "pending", False),
        ("queued", "rejected", False),
        ("queued", "timed_out", False),
        ("blocked", "pending", False),
        *(
            (status, "approved", False)
            for status in ("running", "completed", "failed", "cancelled", "blocked")
        ),
    ],
)
def test_what_is_taken_depends_on_status_and_approval(
    jobs_database: Database, connection: Connection, agent: UUID, status: str, approval: str, is_taken: bool
) -> None:
    enqueue_team_run(connection, agent, status=status, approval_status=approval)
    assert tickets(connection, "execute_team_run") == int(is_taken)
    assert (claim(jobs_database, "team_run") is not None) == is_taken


def test_the_platforms_own_claim_works_where_it_is_repaired(
    connection: Connection, agent: UUID, platform_profile: str
) -> None:
    enqueue_team_run(connection, agent)
    found = call(connection, "SELECT public.fn_worker_claim_team_run()")
    assert (found is None) == (platform_profile == "faulty")


@BOTH_PLATFORMS
def test_delegated_runs_are_taken_with_their_depth_and_no_deeper_than_allowed(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    parent = enqueue_team_run(connection, agent, recursion_depth=7, status="running")
    child = delegate(jobs_database, agent, workflow_id, {"a": 1}, parent_id=parent)
    with pytest.raises(psycopg2.errors.ProgramLimitExceeded):
        delegate(jobs_database, agent, workflow_id, {}, parent_id=child)
    with pytest.raises(psycopg2.errors.RaiseException, match="delegation_forbidden"):
        delegate(jobs_database, agent, workflow_id, {}, policy="forbidden")
    run = TeamRun.model_validate(must_claim(jobs_database, "team_run").job)
    assert (run.team_run_id, run.recursion_depth, run.inputs) == (child, 8, {"a": 1})


@BOTH_PLATFORMS
def test_a_delegation_that_needs_approval_waits_for_it(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    delegate(jobs_database, agent, workflow_id, {}, policy="approval_required")
    assert claim(jobs_database, "team_run") is None


def test_the_platforms_own_delegation_refuses_a_worker_today(
    connection: Connection, agent: UUID, platform_profile: str
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    start = "SELECT public.fn_start_team_run(%s, %s)"
    if platform_profile == "faulty":
        assert sqlstate_of(connection, start, agent, workflow_id) == "P0001"
    else:
        assert call(connection, start, agent, workflow_id)


def setting(connection: Connection, agent: UUID, **columns: Any) -> None:
    call(connection, "INSERT INTO agents.workspace_settings (ai_lenser_id) VALUES (%s) RETURNING 1", agent)
    for name, value in columns.items():
        rows(connection, f"UPDATE agents.workspace_settings SET {name} = %s", value)


@pytest.mark.parametrize(
    "hindrance", ["budget", "workspace budget", "paused", "killed", "suspended", "parallel"]
)
def test_limits_keep_a_run_waiting_until_they_are_lifted(
    jobs_database: Database, connection: Connection, seeded: Seeded, agent: UUID, hindrance: str
) -> None:
    spent = "INSERT INTO agents.quota_snapshots (ai_lenser_id, credits_spent) VALUES (%s, 1000)"
    lift = "DELETE FROM agents.workspace_settings"
    if hindrance == "budget":
        rows(connection, spent, agent)
        limit = "INSERT INTO agents.policies (ai_lenser_id, spending_limit_credits) VALUES (%s, 10)"
        rows(connection, limit, agent)
        lift = "DELETE FROM agents.policies"
    elif hindrance == "workspace budget":
        rows(connection, spent, agent)
        setting(connection, agent)
    elif hindrance == "paused":
        setting(connection, agent, agent_paused=True)
    elif hindrance == "killed":
        kill = (
            "INSERT INTO admin.kill_switches (scope, target_id, operator_id, reason)"
            " VALUES ('agent', %s, %s, 'test')"
        )
        rows(connection, kill, agent, seeded.people["ada"])
        lift = "DELETE FROM admin.kill_switches"
    elif hindrance == "suspended":
        rows(connection, "UPDATE agents.ai_lensers SET suspended_at = now()")
        lift = "UPDATE agents.ai_lensers SET suspended_at = NULL"
    else:
        setting(connection, agent, max_parallel_runs=1)
        enqueue_team_run(connection, agent)
        must_claim(jobs_database, "team_run")
    enqueue_team_run(connection, agent)
    count = call(connection, "SELECT count_claimable FROM worker.kinds WHERE kind = 'team_run'")
    assert claim(jobs_database, "team_run") is None
    assert call(connection, count) == 0
    rows(connection, lift)
    assert call(connection, count) == 1
    assert claim(jobs_database, "team_run") is not None


def test_the_end_of_a_run_lets_the_next_of_its_agent_begin(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    setting(connection, agent, max_parallel_runs=1)
    first, second = (enqueue_team_run(connection, agent) for _ in range(2))
    claimed = must_claim(jobs_database, "team_run", hint=first)
    rows(connection, "DELETE FROM dramatiq.queue")
    claimed.finish(lambda tx: finish_team_run(tx, first, "completed"))
    assert tickets(connection, "execute_team_run") == 1
    assert must_claim(jobs_database, "team_run").job_id == second


@BOTH_PLATFORMS
def test_a_linked_run_keeps_its_inputs_under_what_the_owner_changed(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    linked = enqueue_workflow_run(
        connection, workflow_id, inputs={"a": 1, "b": 1, "c": 1}, status="pending_approval"
    )
    enqueue_team_run(
        connection,
        agent,
        workflow_id=workflow_id,
        workflow_run_id=linked,
        approval_status="approved",
        metadata={"inputs": {"b": 2, "c": 2}, "decision_modifications": {"inputs": {"c": 3}}},
    )
    must_claim(jobs_database, "team_run")
    stored = run_row(connection, linked)
    assert (stored["status"], stored["context_inputs"]) == ("running", {"a": 1, "b": 2, "c": 3})


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("status", "verdict"),
    [("completed", Verdict.ENDED), ("cancelled", Verdict.CANCELLED), ("running", Verdict.TAKEN)],
)
def test_a_linked_run_that_ended_or_is_anothers_is_not_taken_up(
    jobs_database: Database, connection: Connection, agent: UUID, status: str, verdict: Verdict
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    linked = enqueue_workflow_run(connection, workflow_id, status=status, run_worker_id="worker-7")
    rows(connection, "UPDATE lenses.workflow_runs SET heartbeat_at = now()")
    enqueue_team_run(connection, agent, workflow_id=workflow_id, workflow_run_id=linked)
    claimed = must_claim(jobs_database, "team_run")
    assert run_row(connection, linked)["run_worker_id"] == "worker-7"
    assert hold_of(claimed).beat(jobs_database) is verdict


def test_the_hold_of_a_team_run_writes_nodes_and_is_fenced_too(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    workflow = make_workflow(connection)
    enqueue_team_run(connection, agent, workflow_id=workflow.workflow_id)
    older = must_claim(jobs_database, "team_run")
    newer = claim(jobs_database, "team_run", message=older.message_id)
    assert newer is not None
    written = [NodeWrite(node_id=workflow.nodes["start"], status="completed")]
    assert hold_of(older).save(jobs_database, written) is Verdict.STALE
    assert hold_of(newer).save(jobs_database, written) is Verdict.OURS


def test_members_share_a_scratchpad_whose_versions_count(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    team_run = enqueue_team_run(connection, agent)
    with jobs_database.transaction() as tx:
        assert merge_scratchpad(tx, team_run, {"plan": "a"}, 0) == 1
        assert merge_scratchpad(tx, team_run, {"draft": "b\x00"}, 1) == 2
    with pytest.raises(DatabaseAway, match="version 1"), jobs_database.transaction() as tx:
        merge_scratchpad(tx, team_run, {"plan": "z"}, 1)
    assert team_row(connection, team_run)["shared_scratchpad"] == {"plan": "a", "draft": "b\ufffd"}


def test_messages_are_kept_in_threads_and_capped(
    jobs_database: Database, connection: Connection, team: SeededTeam
) -> None:
    team_run = enqueue_team_run(connection, team.lead_id, team_id=team.team_id)
    lena, emil, _ = team.agents.values()
    with jobs_database.transaction() as tx:
        ask = send_message(
            tx, team_run, TeamMessage(sender=lena, to=emil, kind="task_request", payload={"t": 1})
        )
        answer = TeamMessage(sender=emil, to=lena, kind="task_response", payload={"t": 2}, parent_id=ask)
        send_message(tx, team_run, answer)
    assert (
        call(connection, "SELECT parent_message_id FROM agents.team_messages WHERE kind = 'task_response'")
        == ask
    )
    rows(
        connection,
        "INSERT INTO agents.team_messages (team_run_id, from_agent_id, kind)"
        " SELECT %s, %s, 'info' FROM generate_series(1, 998)",
        team_run,
        lena,
    )
    with pytest.raises(psycopg2.errors.ProgramLimitExceeded), jobs_database.transaction() as tx:
        send_message(tx, team_run, TeamMessage(sender=lena, kind="info", payload={}))


def test_a_step_is_written_again_and_not_twice(
    jobs_database: Database, connection: Connection, team: SeededTeam
) -> None:
    team_run = enqueue_team_run(connection, team.lead_id, team_id=team.team_id)
    member = call(connection, "SELECT id FROM agents.team_members LIMIT 1")
    with jobs_database.transaction() as tx:
        begun = save_step(tx, team_run, TeamStep(member_id=member, title="Write", status="running"))
        step = TeamStep(member_id=member, title="Write", status="completed", summary="done")
        assert save_step(tx, team_run, step) == begun
        other = TeamStep(member_id=member, title="Write", lane=1, status="running")
        assert save_step(tx, team_run, other) != begun
    (stored,) = rows(connection, "SELECT * FROM agents.agent_run_steps WHERE id = %s", begun)
    assert (stored["status"], stored["recent_output_summary"]) == ("completed", "done")
    assert stored["completed_at"] is not None


def test_a_reviewer_reviews_all_but_its_own_work(
    jobs_database: Database, connection: Connection, team: SeededTeam
) -> None:
    team_run = enqueue_team_run(connection, team.lead_id, team_id=team.team_id)
    _, emil, rosa = team.agents.values()
    assert requires_review(jobs_database, team_run, emil)
    assert not requires_review(jobs_database, team_run, rosa)
    rows(connection, "UPDATE agents.team_members SET is_active = false WHERE role = 'reviewer'")
    assert not requires_review(jobs_database, team_run, emil)


@BOTH_PLATFORMS
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_team_run_ends_once_with_its_result_and_event(
    jobs_database: Database, connection: Connection, agent: UUID, status: str
) -> None:
    team_run = enqueue_team_run(connection, agent, metadata={"error": "an older one"})
    claimed = must_claim(jobs_database, "team_run")
    claimed.finish(
        lambda tx: (
            append_event(tx, team_run, "memory_injected", {"memories": 2}),
            finish_team_run(tx, team_run, status, result={"text": "hello"}),
        )
    )
    with jobs_database.transaction() as tx:
        finish_team_run(tx, team_run, "failed", error="too late", result="too late")
    stored = team_row(connection, team_run)
    assert stored["status"] == status
    assert stored["completed_at"] is not None
    assert stored["metadata"]["result"] == {"text": "hello"}
    assert "error" not in stored["metadata"]
    assert sorted(events(connection)) == sorted(["dispatch_started", "memory_injected", f"run_{status}"])


def test_a_team_run_ends_only_in_a_way_that_runs_end(connection: Connection, agent: UUID) -> None:
    team_run = enqueue_team_run(connection, agent)
    assert sqlstate_of(connection, "SELECT fn_worker_finalize_team_run(%s, 'queued')", team_run) == "22023"


@BOTH_PLATFORMS
def test_a_cancelled_team_run_stays_cancelled(
    jobs_database: Database, connection: Connection, seeded: Seeded, agent: UUID
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    team_run = enqueue_team_run(connection, agent, workflow_id=workflow_id)
    claimed = must_claim(jobs_database, "team_run")
    with connection:
        call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
        call(connection, "SELECT public.fn_cancel_run(%s)", team_run)
    assert hold_of(claimed).beat(jobs_database) is Verdict.CANCELLED
    with pytest.raises(StaleClaim):
        claimed.finish(lambda tx: finish_team_run(tx, team_run, "completed"))
    assert team_row(connection, team_run)["status"] == "cancelled"


@BOTH_PLATFORMS
def test_a_failed_team_run_takes_its_workflow_run_with_it(
    jobs_database: Database, connection: Connection, agent: UUID
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    team_run = enqueue_team_run(connection, agent, workflow_id=workflow_id)
    claimed = must_claim(jobs_database, "team_run")
    error = GiveUp("team.nobody", "no member can do this")
    claimed.finish(lambda tx: fail_team_run(tx, team_run, error), outcome="failed", error=error)
    stored = team_row(connection, team_run)
    assert (stored["status"], stored["metadata"]["error"]) == ("failed", "team.nobody: no member can do this")
    assert run_row(connection, stored["workflow_run_id"])["status"] == "failed"


def test_an_approval_makes_a_ticket(connection: Connection, agent: UUID) -> None:
    team_run = enqueue_team_run(connection, agent, status="blocked", approval_status="pending")
    assert tickets(connection, "execute_team_run") == 0
    update(connection, "agents.team_runs", team_run, status="queued", approval_status="approved")
    assert tickets(connection, "execute_team_run") == 1
