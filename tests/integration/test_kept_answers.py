"""Whatever ends badly: what was bought is written in the end, and nothing is asked twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app import claims
from app.broker import LeaseBroker
from app.cli.jobs import app as jobs
from app.database import Database
from app.errors import DatabaseAway, SettingsError
from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs
from app.local.provider_server import ProviderServer
from app.local.receiver import Receiver
from tests.integration.battle_rows import ended_jobs, queue_battle
from tests.integration.broken_endings import (
    BATTLE,
    COLLECTED,
    KILL,
    LENS,
    MEDIUM,
    NODE,
    NODES,
    ORDER,
    REFUSE,
    TURN,
    WEBHOOK,
    Work,
    World,
    answers_of,
    break_endings,
    mend,
    raises,
)
from tests.integration.broker_rows import wait_until_empty
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import rows
from tests.sql import call
from tests.waiting import eventually

ALL = {
    "lens": LENS,
    "battle": BATTLE,
    "medium": MEDIUM,
    "order": ORDER,
    "collected": COLLECTED,
    "node": NODE,
    "turn": TURN,
    "webhook": WEBHOOK,
}
EVERY_KIND = pytest.mark.parametrize("work", ALL.values(), ids=ALL.keys())

KEPT = "SELECT count(*) FROM worker.kept_answers"


@pytest.fixture
def world(
    provider: ProviderServer, connection: Connection, seeded: Seeded, configure: Callable[..., None]
) -> Iterator[World]:
    configure(
        ANTHROPIC_API_KEY="sk-ant-planted-0123456789",
        KLING_API_KEY="sk-platform-planted-kling-0123456789",
        ASYNC_MEDIA_POLL_INTERVAL_MS="1",
        WORKER_OUTBOUND_ALLOWED_HOSTS="127.0.0.0/8",
    )
    with Receiver() as receiver:
        yield World(connection, provider, receiver)


def all_ended(connection: Connection) -> bool:
    open_ = "SELECT count(*) FROM worker.claims WHERE finished_at IS NULL"
    return bool(call(connection, "SELECT count(*) > 0 FROM worker.claims")) and not call(connection, open_)


def await_answers(world: World, work: Work) -> None:
    eventually(lambda: answers_of(world, work) == work.expected, what="the answers")
    eventually(lambda: all_ended(world.connection), what="the end of every claim")


def deaths(connection: Connection) -> Any:
    return call(connection, "SELECT sum(deaths) FROM worker.claims")


#: What passes by itself: conflict, deadlock, lock, cancelled statement, a shutdown, too many sessions, a
#: database that is read only, and what a pooler says without a server.
PASSING = ["40001", "40P01", "55P03", "57014", "57P01", "53300", "25006", "XX000"]


@pytest.mark.parametrize("sqlstate", PASSING)
def test_an_ending_is_tried_again_through_what_passes(
    sqlstate: str, world: World, broker: LeaseBroker
) -> None:
    break_endings(world.connection, LENS, raises(sqlstate), times=3)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        await_answers(world, LENS)
    assert (world.asked, deaths(world.connection)) == (1, 0)
    assert call(world.connection, "SELECT attempt FROM worker.claims") == 1


@EVERY_KIND
@pytest.mark.parametrize(
    ("action", "at_commit"),
    [(raises("40001"), False), (KILL, False), (KILL, True)],
    ids=["conflict", "killed before the commit", "killed during the commit"],
)
def test_every_kind_writes_its_answer_on_another_session(
    work: Work, action: str, at_commit: bool, world: World, broker: LeaseBroker
) -> None:
    break_endings(world.connection, work, action, times=2, at_commit=at_commit)
    with running_worker(broker, *work.actors):
        work.queue(world)
        await_answers(world, work)
    assert world.asked == work.questions
    assert (deaths(world.connection), call(world.connection, KEPT)) == (0, 0)


@EVERY_KIND
def test_a_commit_whose_word_was_lost_is_not_done_twice(
    work: Work, world: World, broker: LeaseBroker, jobs_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_words_of_ends(monkeypatch, jobs_database)
    with running_worker(broker, *work.actors):
        work.queue(world)
        await_answers(world, work)
    assert world.asked == work.questions
    outcomes = rows(world.connection, "SELECT DISTINCT outcome FROM worker.claims ORDER BY 1")
    assert {row["outcome"] for row in outcomes} <= {"succeeded", "handed_over"}
    calls = call(world.connection, "SELECT count(*) FROM worker.provider_calls WHERE purpose <> 'poll'")
    assert calls == len(world.provider.calls)


def lose_words_of_ends(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    """Every end of a claim is committed, and the first word of each is lost."""
    real, lost = claims.Claim._end, set()

    def end(claim: Any, *terms: Any, **more: Any) -> str:
        verdict = real(claim, *terms, **more)
        if claim.message_id not in lost:
            lost.add(claim.message_id)
            raise DatabaseAway("the session was lost")
        return verdict

    monkeypatch.setattr(claims.Claim, "_end", end)


@pytest.mark.parametrize("work", [*ALL.values(), NODES], ids=[*ALL, "nodes"])
def test_what_the_platform_refuses_is_kept_and_written_after_the_mend(
    work: Work, world: World, broker: LeaseBroker
) -> None:
    break_endings(world.connection, work, REFUSE, times=1_000_000)
    with running_worker(broker, *work.actors):
        work.queue(world)
        kept = eventually(lambda: rows(world.connection, "SELECT * FROM worker.kept_answers"), what="keeping")
        eventually(lambda: all_ended(world.connection), what="the end of every claim")
        asked = world.asked
        letters = rows(world.connection, "SELECT * FROM worker.dead_letters")
        assert {letter["error_code"] for letter in letters} == {"platform.refused"}
        assert {letter["deaths"] for letter in letters} == {0}
        reason = '42703: record "new" has no field "is_archived"'
        assert all(letter["error_message"].startswith(reason) for letter in letters)
        assert {row["refused_sqlstate"] for row in kept} == {"42703"}
        job = str(letters[0]["job"])
        shown = command("show", job)
        assert "Its answer is kept since" in shown
        with pytest.raises(SettingsError, match="42703"):
            command("end", job)
        eventually(lambda: all_ended(world.connection), what="the end of the second claim")
        assert world.asked == asked
        mend(world.connection, work)
        for letter in rows(world.connection, "SELECT job FROM worker.dead_letters"):
            assert "is written" in command("end", str(letter["job"]))
        await_answers(world, work)
    assert world.asked == work.questions
    assert call(world.connection, KEPT) == 0
    assert deaths(world.connection) == 0


@pytest.mark.parametrize("work", [LENS, BATTLE, MEDIUM, COLLECTED, NODE, WEBHOOK], ids=lambda work: work.kind)
def test_where_failing_is_refused_too_the_claim_alone_ends(
    work: Work, world: World, broker: LeaseBroker
) -> None:
    break_endings(world.connection, work, REFUSE, times=1_000_000, also=work.fails)
    with running_worker(broker, *work.actors):
        work.queue(world)
        eventually(lambda: call(world.connection, KEPT), what="keeping")
        eventually(lambda: all_ended(world.connection), what="the end of every claim")
        letters = rows(world.connection, "SELECT * FROM worker.dead_letters")
        assert {letter["error_code"] for letter in letters} == {"platform.refused"}
        told = "can't be marked as failed either (42703"
        assert all(told in letter["error_message"] for letter in letters)
        mend(world.connection, work)
        for letter in letters:
            assert "is written" in command("end", str(letter["job"]))
        await_answers(world, work)
    assert (world.asked, deaths(world.connection)) == (work.questions, 0)


@contextmanager
def next_worker(broker: LeaseBroker, work: Work) -> Iterator[None]:
    """As in the process that is started after one was stopped."""
    broker.actors.clear()
    with running_worker(broker, *work.actors):
        yield


def command(*arguments: str) -> str:
    return CliRunner().invoke(jobs, arguments, catch_exceptions=False, env={"COLUMNS": "200"}).output


def test_a_replay_of_a_dead_letter_writes_the_kept_answer(world: World, broker: LeaseBroker) -> None:
    break_endings(world.connection, LENS, REFUSE, times=1)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        letter = eventually(lambda: rows(world.connection, "SELECT * FROM worker.dead_letters"), what="it")
        call(world.connection, "SELECT worker.replay_dead_letter(%s, 0, 'ada', '')", letter[0]["message_id"])
        await_answers(world, LENS)
    assert (world.asked, call(world.connection, KEPT)) == (1, 0)


@EVERY_KIND
def test_a_process_that_must_stop_hands_the_answer_over(
    work: Work, world: World, broker: LeaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_endings(world.connection, work, raises("40001"), times=1_000_000)
    with running_worker(broker, *work.actors, timeout_ms=100):
        work.queue(world)
        ending = "SELECT last_value > 1 FROM public.endings"
        eventually(lambda: call(world.connection, ending), what="an ending that fails")
    asked = world.asked
    assert call(world.connection, KEPT) >= 1
    mend(world.connection, work)
    with next_worker(broker, work):
        await_answers(world, work)
    assert (world.asked - asked, world.asked) == (work.questions - asked, work.questions)
    assert (call(world.connection, KEPT), deaths(world.connection)) == (0, 0)


def test_an_ending_that_lasts_is_put_down_with_its_answer(
    world: World, broker: LeaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.claims.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("app.work.DATABASE_PAUSE_SECONDS", 0.01)
    break_endings(world.connection, LENS, raises("55P03"), times=1_000_000)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        attempts = "SELECT attempt > 2 FROM worker.claims"
        eventually(lambda: call(world.connection, attempts), what="another attempt")
        mend(world.connection, LENS)
        await_answers(world, LENS)
    claim = rows(world.connection, "SELECT * FROM worker.claims")[0]
    assert (world.asked, claim["deaths"], claim["errors"]) == (1, 0, 0)
    assert claim["history"][0]["error_code"] == "database.away"


def test_what_does_not_pass_within_an_hour_is_refused(
    world: World, broker: LeaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.claims.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("app.work.DATABASE_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("app.work.KEPT_FOR_SECONDS", 0.001)
    break_endings(world.connection, LENS, raises("55P03"), times=1_000_000)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        letter = eventually(lambda: rows(world.connection, "SELECT * FROM worker.dead_letters"), what="it")
    assert (letter[0]["error_code"], letter[0]["error_message"]) == (
        "platform.refused",
        "55P03: no ending of runs",
    )
    assert (world.asked, call(world.connection, KEPT)) == (1, 1)


def test_the_time_limit_does_not_cut_an_ending_off(
    world: World, broker: LeaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.deadlines.LOOK_SECONDS", 0.02)
    broker.emit_after("process_boot")
    break_endings(world.connection, LENS, "PERFORM pg_sleep(2)", times=1)
    with running_worker(broker, *LENS.actors):
        broker.get_actor("execute_lens_run").options["time_limit"] = 1_500
        LENS.queue(world)
        await_answers(world, LENS)
    claim = rows(world.connection, "SELECT * FROM worker.claims")[0]
    assert (claim["attempt"], claim["history"], world.asked) == (1, [], 1)


def test_a_person_who_locks_the_row_does_not_cost_a_second_call(
    world: World, broker: LeaseBroker, dsn: str, configure: Callable[..., None], superuser: Connection
) -> None:
    configure(WORKER_DATABASE_STATEMENT_TIMEOUT_MS="200")
    world.provider.hold()
    with running_worker(broker, *LENS.actors):
        run = LENS.queue(world)
        world.provider.wait_for_calls(1)
        superuser.autocommit = False
        call(superuser, "SELECT id FROM execution.runs WHERE id = %s FOR UPDATE", run)
        world.provider.release()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: call(world.connection, waits), what="an ending that waits")
        eventually(lambda: not call(world.connection, waits), what="its time to be over")
        superuser.rollback()
        await_answers(world, LENS)
    assert world.asked == 1


def set_database(superuser: Connection, setting: str) -> None:
    name = call(superuser, "SELECT current_database()")
    superuser.cursor().execute(f'ALTER DATABASE "{name}" SET {setting}')


def test_eighty_runs_on_a_serializable_database_cost_eighty_calls(
    world: World, broker: LeaseBroker, superuser: Connection
) -> None:
    set_database(superuser, "default_transaction_isolation = 'serializable'")
    with running_worker(broker, *LENS.actors, threads=8):
        enqueue_lens_runs(world.connection, 80, model="gpt-4o", inputs={"prompt": "hi"})
        done = "SELECT count(*) = 80 FROM execution.runs WHERE status = 'succeeded'"
        eventually(lambda: call(world.connection, done), what="the runs")
        wait_until_empty(world.connection)
    assert world.asked == 80


def test_ten_battles_on_a_serializable_database_cost_twenty_calls(
    world: World, broker: LeaseBroker, superuser: Connection
) -> None:
    set_database(superuser, "default_transaction_isolation = 'serializable'")
    with running_worker(broker, *BATTLE.actors, threads=8):
        battles = [queue_battle(world.connection) for _ in range(10)]
        for battle in battles:
            assert [job["status"] for job in ended_jobs(world.connection, battle)] == ["completed"] * 2
    assert world.asked == 20


def test_a_database_that_is_read_only_for_a_while_loses_nothing(
    world: World, broker: LeaseBroker, superuser: Connection
) -> None:
    world.provider.hold()
    name = call(superuser, "SELECT current_database()")
    others = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'lf-worker jobs'"
    )
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        world.provider.wait_for_calls(1)
        set_database(superuser, "default_transaction_read_only = on")
        call(superuser, others)
        world.provider.release()
        world.provider.wait_until_idle()
        threading.Event().wait(0.5)
        superuser.cursor().execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await_answers(world, LENS)
    assert (world.asked, deaths(world.connection)) == (1, 0)


def test_the_reason_never_quotes_the_answer(world: World, broker: LeaseBroker) -> None:
    world.provider.say("gpt-4o", "a secret recipe that nobody may read but its owner")
    action = "RAISE EXCEPTION 'bad text: %', NEW.response_text USING ERRCODE = 'P0001'"
    break_endings(world.connection, LENS, action, times=1)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        letter = eventually(lambda: rows(world.connection, "SELECT * FROM worker.dead_letters"), what="it")
    assert letter[0]["error_message"].startswith("P0001: the reason quotes the answer and is left out")
    assert "recipe" not in str(rows(world.connection, "SELECT * FROM worker.claims"))


def test_a_kept_answer_goes_with_the_last_claim_of_its_job(world: World, broker: LeaseBroker) -> None:
    break_endings(world.connection, LENS, REFUSE, times=1)
    with running_worker(broker, *LENS.actors):
        LENS.queue(world)
        eventually(lambda: call(world.connection, KEPT), what="keeping")
        wait_until_empty(world.connection)
    world.connection.cursor().execute("UPDATE worker.kept_answers SET kept_at = now() - interval '8 days'")
    prune = "SELECT deleted FROM worker.prune(interval '7 days')"
    assert (call(world.connection, prune), call(world.connection, KEPT)) == (0, 1)
    world.connection.cursor().execute("UPDATE worker.claims SET finished_at = now() - interval '8 days'")
    call(world.connection, prune)
    call(world.connection, prune)
    assert call(world.connection, KEPT) == 0


def test_a_cancelled_job_keeps_nothing(world: World, broker: LeaseBroker) -> None:
    break_endings(world.connection, LENS, raises("40001"), times=1_000_000)
    with running_worker(broker, *LENS.actors, timeout_ms=100):
        run = LENS.queue(world)
        ending = "SELECT last_value > 1 FROM public.endings"
        eventually(lambda: call(world.connection, ending), what="an ending that fails")
    assert call(world.connection, KEPT) == 1
    world.connection.cursor().execute("UPDATE execution.runs SET status = 'canceled' WHERE id = %s", (run,))
    with next_worker(broker, LENS):
        eventually(lambda: all_ended(world.connection), what="the end")
    assert (call(world.connection, KEPT), world.asked) == (0, 1)


def test_what_can_not_be_ended_is_said(world: World, broker: LeaseBroker) -> None:
    nobody = "4f0d2a5e-0000-4000-8000-000000000000"
    with pytest.raises(SettingsError, match=f"there is no job {nobody}"):
        command("end", nobody)
    with pytest.raises(SettingsError, match="'x' is not an id"):
        command("end", "x")
    with running_worker(broker, *LENS.actors):
        run = enqueue_lens_run(world.connection, model="gpt-4o", inputs={"prompt": "hi"})
        wait_until_empty(world.connection)
        eventually(lambda: all_ended(world.connection), what="the end")
    with pytest.raises(SettingsError, match=f"nothing is kept of lens_run {run}"):
        command("end", str(run))
    break_endings(world.connection, LENS, REFUSE, times=1)
    with next_worker(broker, LENS):
        refused = LENS.queue(world)
        eventually(lambda: call(world.connection, KEPT), what="keeping")
    with pytest.raises(SettingsError, match="waits for a worker; its answer is kept"):
        command("end", str(refused), "--wait", "0")
