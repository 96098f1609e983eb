"""Battle jobs from the platform's row to the vote, in a real worker, with a provider on a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.battles import Contender
from app.local.platform import Seeded, ensure_model
from app.local.provider_server import ProviderServer
from app.settings import settings
from tests.integration.battle_rows import (
    GPT,
    MINI,
    dead_letters,
    ended_jobs,
    jobs_of,
    queue_battle,
    status_of,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.battles"):
        yield


@BOTH_PLATFORMS
def test_both_contenders_answer_and_voting_opens(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(connection, voting_duration_hours=3)
    a, b = ended_jobs(connection, battle)
    assert (a["status"], b["status"]) == ("completed", "completed")
    assert (a["submission"], a["output_modality"]) == ("submitted", "text")
    assert a["content_text"] == "gpt-4o says: Praise the sea"
    assert b["content_text"].endswith("says: Praise the sea")
    assert a["metadata"]["token_output"] > 0
    assert status_of(connection, battle) == "voting"
    window = "SELECT extract(epoch FROM voting_closes_at - voting_opens_at) / 3600 FROM battles.battles"
    assert call(connection, window) == 3
    assert {c.key for c in provider.calls} == {"sk-platform-planted-0123456789"}
    assert a["worker_id"] == call(connection, "SELECT DISTINCT worker_id FROM worker.claims")


@BOTH_PLATFORMS
def test_a_contender_that_fails_twice_is_heard_at_the_third_try(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script("gpt-4o", ["500", "reset"])
    battle = queue_battle(connection)
    a, b = ended_jobs(connection, battle)
    assert (a["status"], a["retry_count"], a["error_message"]) == ("completed", 2, None)
    assert (b["status"], b["retry_count"]) == ("completed", 0)
    outcomes = "SELECT array_agg(outcome ORDER BY claimed_at) FROM worker.claims WHERE job = %s"
    assert call(connection, outcomes, a["id"]) == ["requeued", "requeued", "succeeded"]
    assert status_of(connection, battle) == "voting"
    assert dead_letters(connection, battle) == {}


@BOTH_PLATFORMS
def test_a_contender_that_always_fails_ends_in_the_dead_letters_and_voting_opens(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(connection, Contender("sc-503", "openai"), MINI)
    a, b = ended_jobs(connection, battle)
    assert (a["status"], b["status"]) == ("failed", "completed")
    assert a["error_message"].startswith("provider.unavailable: ")
    assert dead_letters(connection, battle) == {"A": "execute.max_retries_exceeded"}
    attempts = "SELECT attempt_count FROM battles.battle_execution_dead_letters"
    assert call(connection, attempts) == settings().battle_max_retries == 3
    assert sum(c.model == "sc-503" for c in provider.calls) == 3
    assert status_of(connection, battle) == "voting"


def test_the_fewer_tries_of_row_and_setting_count(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    connection.autocommit = False
    battle = queue_battle(connection, Contender("sc-503", "openai"), MINI)
    connection.cursor().execute("UPDATE battles.battle_execution_jobs SET max_retries = 2")
    connection.commit()
    connection.autocommit = True
    ended_jobs(connection, battle)
    assert call(connection, "SELECT attempt_count FROM battles.battle_execution_dead_letters") == 2
    assert sum(c.model == "sc-503" for c in provider.calls) == 2


@BOTH_PLATFORMS
def test_a_battle_of_which_nobody_is_heard_does_not_stay_executing(
    worker: None, connection: Connection
) -> None:
    battle = queue_battle(connection, Contender("sc-401", "openai"), Contender("sc-refusal", "openai"))
    ended_jobs(connection, battle)
    assert dead_letters(connection, battle) == {
        "A": "provider.auth_failed",
        "B": "provider.content_refused",
    }
    assert status_of(connection, battle) == "voting"


@pytest.mark.parametrize(
    ("contender", "columns", "code"),
    [
        (Contender("gpt-4o", "nobody"), {}, "provider.unsupported"),
        (Contender("", ""), {}, "provider.model_not_found"),
        (GPT, {"task_prompt": "   "}, "template.empty"),
        (Contender("claude-sonnet-4-6"), {}, "key.missing"),
        (Contender("gpt-4o", byok_key_id=uuid4()), {}, "key.revoked"),
        (Contender("gpt-4o", funding_source="user_byok_cloud"), {}, "key.missing"),
        (Contender("gpt-4o", funding_source="user_byok_local"), {}, "key.local_unsupported"),
        (Contender("gpt-4o", lens="broken"), {}, "template.syntax"),
        (Contender("gpt-4o", max_tokens=0), {}, "job.malformed"),
        (GPT, {"shared_input_snapshot": "[]"}, "job.malformed"),
    ],
)
def test_what_can_not_be_done_is_given_up_at_once_with_its_code(
    contender: Contender,
    columns: dict[str, str],
    code: str,
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    battle = queue_battle(connection, contender, Contender("", ""), **columns)
    a, _ = ended_jobs(connection, battle)
    assert dead_letters(connection, battle)["A"] == code
    assert a["status"] == "failed"
    assert a["error_message"].startswith(f"{code}: ")
    assert (a["retry_count"], a["submission"]) == (0, None)
    assert provider.calls == []


def test_a_contenders_own_key_is_used_and_nobody_elses(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    own = Contender("gpt-4o", byok_key_id=seeded.keys["active"], funding_source="user_byok_cloud")
    ended_jobs(connection, queue_battle(connection, own, MINI))
    assert {c.model: c.key for c in provider.calls} == {
        "gpt-4o": "sk-local-active-0001",
        "gpt-5.4-mini": "sk-platform-planted-0123456789",
    }
    foreign = queue_battle(connection, own, MINI, creator_lenser_id=str(seeded.people["grace"]))
    ended_jobs(connection, foreign)
    assert dead_letters(connection, foreign) == {"A": "key.not_owned"}


def test_limits_lens_and_persona_reach_the_provider(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(
        connection,
        Contender("gpt-4o", persona="Speak like a pirate.", max_tokens=77, temperature=0.0),
        Contender("mistral", "ollama", lens="summary", inputs={"tone": "Formal"}),
    )
    ended_jobs(connection, battle)
    by_model = {c.model: c for c in provider.calls}
    pirate, lens = by_model["gpt-4o"], by_model["mistral"]
    assert (pirate.system, pirate.prompt) == ("Speak like a pirate.", "Praise the sea")
    assert 77 in pirate.body.values()
    assert pirate.body["temperature"] == 0
    assert lens.prompt == "Write in a formal tone. Summarise: Praise the sea"
    assert lens.system is None


def test_what_is_in_the_task_is_no_template_of_the_lens(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    lens = Contender("gpt-4o", lens="greeting", version=seeded.versions["greeting/1"])
    ended_jobs(connection, queue_battle(connection, lens, Contender("", ""), task_prompt="the [[name]]"))
    assert provider.calls[0].prompt.startswith("Say hello to the [[name]]. ")


def test_in_a_clean_room_no_agent_has_a_persona(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(
        connection,
        Contender("gpt-4o", persona="Speak like a pirate."),
        MINI,
        lenser_battle_policy={"memory_mode": "clean_room"},
    )
    ended_jobs(connection, battle)
    assert [c.system for c in provider.calls] == [None, None]


def test_an_answer_longer_than_the_platform_takes_is_cut_and_says_so(
    worker: None, connection: Connection
) -> None:
    battle = queue_battle(connection, task_prompt="sea " * 6_000)
    a, _ = ended_jobs(connection, battle)
    assert len(a["content_text"]) == 20_000
    assert a["metadata"]["cut_from_chars"] > 24_000


@BOTH_PLATFORMS
def test_the_emergency_stop_is_final_for_a_job_in_mid_call(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    battle = queue_battle(connection)
    provider.wait_for_calls(2)
    row = connection.cursor()
    row.execute("UPDATE lensers.profiles SET is_super_admin = true WHERE id = %s", (seeded.people["grace"],))
    row.execute("SELECT set_config('request.jwt.claim.sub', %s, false)", (str(seeded.users["grace"]),))
    row.execute("SELECT fn_cancel_all_active_runs('stop it')")
    provider.release()
    for job in ended_jobs(connection, battle):
        assert (job["status"], job["error_message"], job["submission"]) == ("failed", "stop it", None)
    assert call(connection, "SELECT array_agg(DISTINCT outcome) FROM worker.claims") == ["gone"]
    assert dead_letters(connection, battle) == {}
    assert status_of(connection, battle) == "executing"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE battles.battles SET deleted_at = now()", "battle.deleted"),
        ("UPDATE battles.battles SET status = 'archived'", "battle.archived"),
        ("UPDATE battles.contenders SET withdrawn_at = now()", "battle.contender_withdrawn"),
    ],
    ids=["deleted", "archived", "withdrawn"],
)
def test_nothing_is_handed_in_to_a_battle_that_is_over(
    change: str, code: str, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.hold()
    battle = queue_battle(connection)
    provider.wait_for_calls(2)
    connection.cursor().execute(change)
    before = status_of(connection, battle)
    provider.release()
    for job in ended_jobs(connection, battle):
        assert (job["status"], job["submission"]) == ("failed", None)
        assert job["error_message"].startswith(code)
    assert dead_letters(connection, battle) == {"A": code, "B": code}
    assert status_of(connection, battle) == (
        before if before == "archived" or "deleted" in code else "voting"
    )


def test_a_job_deleted_in_mid_call_leaves_nothing_and_the_worker_goes_on(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.hold()
    battle = queue_battle(connection)
    provider.wait_for_calls(2)
    connection.cursor().execute("DELETE FROM battles.battle_execution_jobs WHERE battle_id = %s", (battle,))
    provider.release()
    gone = "SELECT count(*) FROM worker.claims WHERE outcome = 'gone'"
    eventually(lambda: call(connection, gone) == 2, what="the end of both claims")
    assert call(connection, "SELECT count(*) FROM battles.submissions") == 0
    ended_jobs(connection, queue_battle(connection))


def test_a_battle_that_was_over_before_its_job_was_claimed_costs_no_call(
    provider: ProviderServer, broker: LeaseBroker, seeded: Seeded, connection: Connection
) -> None:
    battle = queue_battle(connection)
    connection.cursor().execute("UPDATE battles.battles SET status = 'archived'")
    with running_worker(broker, "actors.battles"):
        ended_jobs(connection, battle)
    assert provider.calls == []
    assert status_of(connection, battle) == "archived"


def test_an_operators_retry_is_one_more_try(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "demo-flaky", "openai")
    provider.script("demo-flaky", ["401"])
    battle = queue_battle(connection, Contender("demo-flaky"), MINI)
    a, _ = ended_jobs(connection, battle)
    assert a["status"] == "failed"
    letter = call(connection, "SELECT id FROM battles.battle_execution_dead_letters")
    connection.cursor().execute("SELECT fn_retry_dead_letter_battle_job(%s)", (letter,))
    eventually(lambda: jobs_of(connection, battle)[0]["status"] == "completed", what="the second try")
    assert status_of(connection, battle) == "voting"


def test_no_key_is_left_anywhere_in_the_database(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    battle = queue_battle(connection, Contender("sc-echo-key", "openai"), MINI)
    ended_jobs(connection, battle)
    assert {each.key for each in provider.calls} == {"sk-platform-planted-0123456789"}
    for table in (
        "battles.battle_execution_jobs",
        "battles.battle_execution_dead_letters",
        "battles.submissions",
        "worker.claims",
        "dramatiq.queue",
    ):
        found = call(
            connection, f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", "%planted-0123456789%"
        )
        assert found == 0, table
