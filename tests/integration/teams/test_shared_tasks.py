"""Shared tasks from their rows to their ends, in a real worker, with a provider on a real wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import MemberSeed, SeededTeam, enqueue_team_run, make_agent, make_team
from tests.integration.teams.rows import ended, events, messages, speaker, speakers, steps
from tests.integration.teams.tasks import ACCEPT, REJECT, start
from tests.integration.workflow_rows import rows, team_row
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")


@pytest.mark.usefixtures("worker")
def test_a_leader_plans_an_executor_works_and_a_reviewer_accepts(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say("claude-sonnet-4-6", "Emil shall do it.", "The sea is wide.", ACCEPT)
    team_run = start(connection, team, shared_scratchpad={"audience": "sailors"})
    row = ended(connection, team_run)
    assert row["status"] == "completed"
    assert row["metadata"]["result"] == {"text": "The sea is wide.", "by": ["Emil"], "rounds": 1}
    assert steps(connection, team_run) == [
        ("Plan", "Lena", "completed"),
        ("Work, round 1", "Emil", "completed"),
        ("Review, round 1", "Rosa", "completed"),
    ]
    assert messages(connection, team_run) == [
        ("Lena", "task_request", "Plan"),
        ("Emil", "task_response", "Work, round 1"),
        ("Rosa", "info", "Review, round 1"),
    ]
    assert row["shared_scratchpad"] == {
        "audience": "sailors",
        "Plan: Lena": "Emil shall do it.",
        "Work, round 1: Emil": "The sea is wide.",
        "Review, round 1: Rosa": ACCEPT,
    }
    assert row["shared_scratchpad_version"] == 3
    assert events(connection, team_run) == [
        "dispatch_started",
        *("turn_started", "turn_completed") * 2,
        *("turn_started", "review_accepted"),
        "run_completed",
    ]
    plan, work, review = provider.calls
    assert "Praise the sea." in plan.prompt
    assert "sailors" in plan.prompt
    assert (plan.system or "").startswith("You lead: say what is to be done")
    assert "Emil (executor), Rosa (reviewer)" in (plan.system or "")
    assert "Emil shall do it." in work.prompt
    assert "The sea is wide." in review.prompt
    assert call(connection, "SELECT outcome FROM worker.claims") == "succeeded"


@pytest.mark.usefixtures("worker")
def test_an_agent_without_a_team_does_the_task_alone_with_its_own_model(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    agent = make_agent(connection, "Nia", persona="Be brief.", model="gpt-4o")
    row = ended(connection, enqueue_team_run(connection, agent, inputs={"prompt": "Praise the sea."}))
    assert (row["status"], row["metadata"]["result"]["by"]) == ("completed", ["Nia"])
    (only,) = provider.calls
    assert (only.model, only.system) == ("gpt-4o", "Be brief.\nYou are Nia.")


@pytest.mark.usefixtures("worker")
def test_members_speak_with_their_own_models_and_memories(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    members = [MemberSeed("Ann", model="gpt-4o"), MemberSeed("Bea", model="claude-sonnet-4-6")]
    pair = make_team(connection, members)
    profile = call(
        connection,
        "INSERT INTO agents.memory_profiles (ai_lenser_id, name) VALUES (%s, 'own') RETURNING id",
        pair.agents["Bea"],
    )
    rows(
        connection,
        "INSERT INTO agents.memories (profile_id, ai_lenser_id, scope, source, content)"
        " VALUES (%s, %s, 'project', 'eval', 'The sea is salty.')",
        profile,
        pair.agents["Bea"],
    )
    assert ended(connection, start(connection, pair))["status"] == "completed"
    first, second = provider.calls
    assert (speaker(first), first.model, speaker(second), second.model) == (
        "Ann",
        "gpt-4o",
        "Bea",
        "claude-sonnet-4-6",
    )
    assert "salty" in second.prompt
    assert "salty" not in first.prompt


@pytest.mark.usefixtures("worker")
def test_lanes_go_at_once_and_the_leader_makes_one_result_of_them(
    connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    lanes = [
        MemberSeed("Lena", "leader"),
        *(MemberSeed(name, lane=n) for n, name in enumerate(["Ann", "Bea"])),
    ]
    team = make_team(connection, [*lanes, MemberSeed("Cleo", lane=0), MemberSeed("Otto", "observer")])
    provider.say("claude-sonnet-4-6", "Plan")
    provider.hold()
    team_run = start(connection, team)
    provider.wait_for_calls(1)
    provider.release()
    row = ended(connection, team_run)
    assert (row["status"], row["metadata"]["result"]["by"]) == ("completed", ["Lena"])
    told = speakers(provider)
    assert (told[0], sorted(told[1:-1]), told[-1]) == ("Lena", ["Ann", "Bea", "Cleo"], "Lena")
    assert told.index("Ann") < told.index("Cleo")
    cleo = next(call for call in provider.calls if speaker(call) == "Cleo")
    assert "Work, round 1: Ann" in cleo.prompt
    assert "Work, round 1: Bea" not in cleo.prompt


def test_two_lanes_are_at_the_provider_at_the_same_time(
    connection: Connection, provider: ProviderServer, worker: None, seeded: Seeded
) -> None:
    team = make_team(connection, [MemberSeed("Ann", lane=0), MemberSeed("Bea", lane=1)])
    provider.hold()
    team_run = start(connection, team)
    provider.wait_for_calls(2)
    assert [status for _, _, status in steps(connection, team_run)] == ["running", "running"]
    provider.release()
    text = ended(connection, team_run)["metadata"]["result"]["text"]
    assert text.startswith("## Ann\n")
    assert "\n\n## Bea\n" in text


@pytest.mark.usefixtures("worker")
def test_work_that_is_sent_back_is_done_again_with_the_reasons(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say("claude-sonnet-4-6", "Plan", "The sea.", REJECT, "The sea has waves.", ACCEPT)
    team_run = start(connection, team)
    row = ended(connection, team_run)
    assert row["metadata"]["result"] == {"text": "The sea has waves.", "by": ["Emil"], "rounds": 2}
    assert "say more of the waves" in provider.calls[3].prompt
    assert "The sea." in provider.calls[3].prompt
    assert "review_rejected" in events(connection, team_run)
    assert ("Rosa", "task_request", "Review, round 1") in messages(connection, team_run)


@pytest.mark.usefixtures("worker")
def test_work_that_is_sent_back_too_often_fails_with_the_reason(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say("claude-sonnet-4-6", "Plan", *["The sea.", REJECT] * 3)
    team_run = start(connection, team)
    row = ended(connection, team_run)
    reason = "the reviewers sent the work back: Rosa: say more of the waves"
    assert (row["status"], row["metadata"]["error"]) == ("failed", f"team.rejected: {reason}")
    assert len(provider.calls) == 7
    assert call(connection, "SELECT error_code FROM worker.dead_letters") == "team.rejected"


@pytest.mark.parametrize(
    "word", ["VERDICT: ASK, it is a matter of taste", "I can't say."], ids=["asks", "unclear"]
)
@pytest.mark.usefixtures("worker")
def test_a_reviewer_may_leave_it_to_the_owner_and_no_thread_waits(
    connection: Connection, provider: ProviderServer, team: SeededTeam, seeded: Seeded, word: str
) -> None:
    provider.say("claude-sonnet-4-6", "Plan", "The sea.", word)
    team_run = start(connection, team)
    row = ended(connection, team_run)
    assert (row["status"], row["approval_status"]) == ("blocked", "pending")
    assert row["metadata"]["approval_reason"].startswith("Rosa: ")
    assert call(connection, "SELECT outcome FROM worker.claims") == "blocked"
    assert events(connection, team_run)[-1] == "approval_requested"
    with connection:
        call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
        call(connection, "SELECT public.fn_decide_approval(%s, 'approved')", team_run)
    eventually(lambda: team_row(connection, team_run)["status"] == "completed", what="the end")
    assert team_row(connection, team_run)["metadata"]["result"]["text"] == "The sea."
    assert len(provider.calls) == 3


@pytest.mark.usefixtures("worker")
def test_a_run_that_needs_approval_from_the_start_is_not_begun(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    start(connection, team, status="blocked", approval_status="pending")
    assert ended(connection, start(connection, team))["status"] == "completed"
    assert len(provider.calls) == 3


@pytest.mark.parametrize("inputs", [{}, {"task": " "}, {"task": 7, "text": "the sea"}], ids=str)
@pytest.mark.usefixtures("worker")
def test_a_run_without_anything_to_do_fails_and_says_so(
    connection: Connection, provider: ProviderServer, team: SeededTeam, inputs: Mapping[str, Any]
) -> None:
    row = ended(connection, start(connection, team, inputs=inputs))
    assert row["status"] == "failed"
    assert row["metadata"]["error"].startswith("team.no_task: ")
    assert not provider.calls


@pytest.mark.usefixtures("worker")
def test_an_error_of_one_turn_is_tried_again_and_the_turns_before_it_are_not(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.script("claude-sonnet-4-6", ["ok", "503", "ok", "ok"])
    team_run = start(connection, team)
    assert ended(connection, team_run)["status"] == "completed"
    assert speakers(provider) == ["Lena", "Emil", "Emil", "Rosa"]
    assert {status for _, _, status in steps(connection, team_run)} == {"completed"}


@pytest.mark.usefixtures("worker")
def test_a_permanent_error_fails_the_run_with_its_code_and_its_step(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.script("claude-sonnet-4-6", ["ok", "401"])
    team_run = start(connection, team)
    row = ended(connection, team_run)
    assert row["metadata"]["error"].startswith("provider.auth_failed")
    assert ("Work, round 1", "Emil", "failed") in steps(connection, team_run)
    planted = "sk-ant-planted"
    everything = rows(connection, "SELECT payload::text, blocker_summary FROM agents.agent_run_steps")
    assert planted not in str(everything) + str(row)
