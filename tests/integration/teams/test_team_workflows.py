"""Teams on workflows: who does which node, what reviewers make of it, and how both rows end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.engine import Ending
from app.errors import JobError
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import MemberSeed, SeededTeam, enqueue_team_run, make_agent, make_team
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from app.platform.team_holds import TeamHold
from app.platform.team_runs import TeamRun
from app.teamwork import TeamEnding, execute_workflow
from tests.integration.teams.rows import ended, messages, speaker, speakers, steps
from tests.integration.workflow_rows import claim, must_claim, node_statuses, rows, run_row, team_row, update
from tests.sql import call
from tests.waiting import eventually

INPUTS = {"name": "Ada", "language": "English"}
REJECT, ACCEPT = "VERDICT: REJECT, too curt", "VERDICT: ACCEPT"
SONNET = "claude-sonnet-4-6"


def lens(**config: Any) -> NodeSeed:
    return NodeSeed(config, lens="greeting")


def chain(*nodes: NodeSeed) -> tuple[dict[str, NodeSeed], list[EdgeSeed]]:
    named = {f"n{number}": node for number, node in enumerate(nodes)}
    names = list(named)
    return named, [EdgeSeed(a, b, "name") for a, b in pairwise(names)]


def start(connection: Connection, team: SeededTeam, *nodes: NodeSeed, **columns: Any) -> UUID:
    workflow = make_workflow(connection, *chain(*nodes))
    columns = {"inputs": INPUTS, "team_id": team.team_id, **columns}
    return enqueue_team_run(connection, team.lead_id, workflow_id=workflow.workflow_id, **columns)


def linked_run(connection: Connection, team_run: UUID) -> dict[str, Any]:
    return run_row(connection, team_row(connection, team_run)["workflow_run_id"])


@pytest.mark.usefixtures("worker")
def test_a_members_node_is_reviewed_and_both_rows_are_completed(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say(SONNET, "Hello, Ada.", ACCEPT)
    team_run = start(connection, team, lens())
    row = ended(connection, team_run)
    assert (row["status"], row["metadata"]["result"]["outputs"]) == ("completed", {"n0": "Hello, Ada."})
    assert linked_run(connection, team_run)["status"] == "completed"
    assert speakers(provider) == ["Emil", "Rosa"]
    work, review = provider.calls
    assert (work.system or "").startswith("You do the work.")
    assert "Hello, Ada." in review.prompt
    assert "Greet Ada in English" in review.prompt
    assert steps(connection, team_run) == [
        ("Work, round 1", "Emil", "completed"),
        ("Review, round 1", "Rosa", "completed"),
    ]
    assert [kind for _, kind, _ in messages(connection, team_run)] == ["task_response", "info"]
    of_node = "SELECT count(*) FROM agents.agent_run_steps WHERE workflow_node_id IS NOT NULL"
    assert call(connection, of_node) == 2
    tokens = "SELECT input_tokens FROM lenses.workflow_node_results"
    both = "SELECT sum(tokens_in) FROM worker.provider_calls"
    assert call(connection, tokens) == call(connection, both)


@pytest.mark.usefixtures("worker")
def test_nodes_go_to_workers_in_turn_or_to_whom_they_ask_for(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    members = [MemberSeed("Lena", "leader"), MemberSeed("Ann", lane=0), MemberSeed("Bea", lane=1)]
    team = make_team(connection, members)
    nodes = [lens(), lens(), lens(role="leader"), lens()]
    assert ended(connection, start(connection, team, *nodes))["status"] == "completed"
    assert speakers(provider) == ["Ann", "Bea", "Lena", "Ann"]


@pytest.mark.usefixtures("worker")
def test_a_nodes_own_model_goes_before_its_members(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    members = [MemberSeed("Ann", model="gpt-4o"), MemberSeed("Bea", model=SONNET)]
    team = make_team(connection, members)
    nodes = [lens(modelId=SONNET), lens(), lens(modelId="gpt-4o-mini")]
    assert ended(connection, start(connection, team, *nodes))["status"] == "completed"
    asked = [(speaker(call), call.model) for call in provider.calls]
    assert asked == [("Bea", SONNET), ("Ann", "gpt-4o"), ("Ann", "gpt-4o-mini")]


@pytest.mark.usefixtures("worker")
def test_an_agent_without_a_team_does_every_node(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    agent = make_agent(connection, "Nia", persona="Be brief.", model="gpt-4o")
    workflow = make_workflow(connection, *chain(lens(), lens()))
    team_run = enqueue_team_run(connection, agent, workflow_id=workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, team_run)["status"] == "completed"
    assert [(speaker(call), call.model) for call in provider.calls] == [("Nia", "gpt-4o")] * 2


@pytest.mark.usefixtures("worker")
def test_a_node_that_is_sent_back_is_done_again_with_the_reason(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say(SONNET, "Hi.", REJECT, "Hello, dear Ada.", ACCEPT)
    row = ended(connection, start(connection, team, lens()))
    assert row["metadata"]["result"]["outputs"] == {"n0": "Hello, dear Ada."}
    assert "too curt" in provider.calls[2].prompt
    assert "Greet Ada in English" in provider.calls[2].prompt


@pytest.mark.usefixtures("worker")
def test_a_node_that_is_sent_back_too_often_fails_both_rows(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say(SONNET, *["Hi.", REJECT] * 3)
    team_run = start(connection, team, lens())
    row = ended(connection, team_run)
    assert row["status"] == "failed"
    assert "review_rejected: Rosa: too curt" in row["metadata"]["error"]
    assert linked_run(connection, team_run)["status"] == "failed"
    assert len(provider.calls) == 6


@pytest.mark.usefixtures("worker")
def test_a_reviewer_may_leave_a_node_to_the_owner_and_finished_nodes_stay(
    connection: Connection, provider: ProviderServer, team: SeededTeam, seeded: Seeded
) -> None:
    provider.say(SONNET, "Hello.", ACCEPT, "Hello again.", "VERDICT: ASK, is this polite?")
    team_run = start(connection, team, lens(), lens())
    row = ended(connection, team_run)
    assert (row["status"], row["approval_status"]) == ("blocked", "pending")
    assert row["metadata"]["approval_reason"].endswith("Rosa: is this polite?")
    assert call(connection, "SELECT count(*) FROM worker.provider_calls") == 4
    run = linked_run(connection, team_run)
    assert run["status"] == "pending_approval"
    assert sorted(node_statuses(connection, run["id"]).values()) == ["completed", "pending"]
    with connection:
        call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
        call(connection, "SELECT public.fn_decide_approval(%s, 'approved')", team_run)
    eventually(lambda: team_row(connection, team_run)["status"] == "completed", what="the end")
    assert team_row(connection, team_run)["metadata"]["result"]["outputs"] == {"n1": "Hello again."}
    assert len(provider.calls) == 4


@pytest.mark.usefixtures("worker")
def test_what_the_owner_changed_when_approving_is_what_the_team_works_with(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    metadata = {"inputs": INPUTS, "decision_modifications": {"inputs": {"name": "Grace"}}}
    assert ended(connection, start(connection, team, lens(), metadata=metadata))["status"] == "completed"
    assert "Greet Grace in English" in provider.calls[0].prompt


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timed_out"])
@pytest.mark.usefixtures("worker")
def test_a_team_run_ends_as_the_workflow_run_that_somebody_else_ended(
    connection: Connection, provider: ProviderServer, team: SeededTeam, status: str
) -> None:
    workflow = make_workflow(connection, *chain(lens()))
    linked = enqueue_workflow_run(connection, workflow.workflow_id, status=status)
    team_run = enqueue_team_run(
        connection,
        team.lead_id,
        team_id=team.team_id,
        workflow_id=workflow.workflow_id,
        workflow_run_id=linked,
    )
    expected = "failed" if status == "timed_out" else status
    assert ended(connection, team_run)["status"] == expected
    assert not provider.calls


def test_a_workflow_run_that_another_worker_is_at_is_left_to_it_and_no_thread_waits(
    connection: Connection, provider: ProviderServer, worker: None, team: SeededTeam
) -> None:
    workflow = make_workflow(connection, *chain(lens()))
    linked = enqueue_workflow_run(
        connection, workflow.workflow_id, status="running", run_worker_id="worker-7"
    )
    rows(connection, "UPDATE lenses.workflow_runs SET heartbeat_at = now()")
    enqueue_team_run(connection, team.lead_id, workflow_id=workflow.workflow_id, workflow_run_id=linked)
    state = "SELECT count(*) FROM worker.claims WHERE state = 'handed_back' AND errors = 0"
    eventually(lambda: call(connection, state) == 1, what="the claim put down")
    assert run_row(connection, linked)["run_worker_id"] == "worker-7"
    assert not provider.calls


@pytest.mark.parametrize("by", ["owner", "team row"])
def test_a_cancelled_team_run_ends_its_workflow_run_within_a_heartbeat(
    connection: Connection, provider: ProviderServer, worker: None, team: SeededTeam, seeded: Seeded, by: str
) -> None:
    provider.hold()
    team_run = start(connection, team, lens(), lens())
    provider.wait_for_calls(1)
    if by == "owner":
        with connection:
            call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
            call(connection, "SELECT public.fn_cancel_run(%s)", team_run)
    else:
        update(connection, "agents.team_runs", team_run, status="cancelled")
    gone = "SELECT count(*) FROM worker.claims WHERE outcome = 'gone'"
    eventually(lambda: call(connection, gone) == 1, what="the end of the claim")
    provider.release()
    provider.wait_until_idle()
    assert team_row(connection, team_run)["status"] == "cancelled"
    run = linked_run(connection, team_run)
    assert run["status"] == "cancelled"
    assert set(node_statuses(connection, run["id"]).values()) == {"cancelled"}
    assert steps(connection, team_run) == [("Work, round 1", "Emil", "skipped")]


def do(database: Database, message: UUID | None = None) -> TeamEnding | None:
    claimed = claim(database, "team_run", message=message) if message else must_claim(database, "team_run")
    assert claimed is not None
    hold = TeamHold(message_id=claimed.message_id, attempt=claimed.attempt, team_run_id=claimed.job_id)
    return execute_workflow(database, TeamRun.model_validate(claimed.job), hold, claimed.hand)


def test_a_reviewed_draft_is_not_bought_again_by_the_next_attempt(
    connection: Connection, provider: ProviderServer, jobs_database: Database, team: SeededTeam
) -> None:
    """The process dies, so to say, after the draft was said and before it was reviewed."""
    provider.script(SONNET, ["ok", "hang"])
    start(connection, team, lens(timeoutMs=1_000, retry={"maxAttempts": 1}))
    with pytest.raises(JobError, match=r"workflow\.node_failed"):
        do(jobs_database)
    rows(connection, "UPDATE lenses.workflow_node_results SET status = 'running', completed_at = NULL")
    message = call(connection, "SELECT message_id FROM worker.claims")
    ending = do(jobs_database, message)
    assert ending is not None
    assert isinstance(ending.workflow[1] if ending.workflow else None, Ending)
    assert ending.status == "completed"
    assert speakers(provider) == ["Emil", "Rosa", "Rosa"]
