"""Chaos passes what is right of limits, budgets and processes, and finds what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.local.provider_usage import Used
from app.local.seeds import seeded_id
from tests.chaos.checks import budgets, calls, ends, faults, metering, processes
from tests.chaos.crew import Crew
from tests.chaos.evidence import QUERIES, Evidence, Row
from tests.chaos.ledger import AFTERMATH_SECONDS, Fault, Ledger
from tests.chaos.outside import Asked
from tests.chaos.terms import LIMITS, THRIFTY, WINDOW_SECONDS

Check = Callable[[Evidence], Iterator[str]]

#: A time at which nothing goes on any more.
NOON = 1_800_000_000.0
OWNER, TICKET, RUN = str(seeded_id("person", THRIFTY)), uuid4(), uuid4()
(AT_ONCE,) = (limit for limit in LIMITS if limit.model == "gpt-4o")
(A_MINUTE,) = (limit for limit in LIMITS if limit.requests_per_minute)
PRICE = {"provider": "openai", "usd_per_million_input": Decimal(1), "usd_per_million_output": Decimal(2)}
BUDGET = {
    "owner": OWNER,
    "limit_usd": Decimal("0.001"),
    "spent_usd": Decimal("0.0007"),
    "held_usd": Decimal("0.0003"),
}


def evidence(
    *, faults: list[Fault] | None = None, asked: list[Asked] | None = None, **tables: Any
) -> Evidence:
    ledger = Ledger()
    ledger.faults += faults or []
    return Evidence(
        ledger=ledger,
        tables={**{name: [] for name in QUERIES}, **tables},
        accepted={},
        asked=asked or [],
        items=[],
        posted=[],
        messages=[],
        exits=tables.pop("exits", []),
        left={},
        seconds=1.0,
    )


def asked(model: str, began_at: float, seconds: float = 1.0, **more: Any) -> Asked:
    call = Asked(0, "worker-1", "openai", model, "Tell of thrifty text 1.", None, began_at)
    return replace(call, **{"ended_at": began_at + seconds, **more})


def wrong(check: Check, found: Evidence) -> list[str]:
    return list(check(found))


def at_once(count: int, **more: Any) -> list[Asked]:
    """So many requests under way at once, of a model that takes only some."""
    return [asked("gpt-4o", NOON + number / 1000, **more) for number in range(count)]


def test_a_provider_takes_as_many_calls_at_once_as_it_allows_and_no_more() -> None:
    assert AT_ONCE.concurrency is not None
    one_after_the_other = [*at_once(AT_ONCE.concurrency), asked("gpt-4o", NOON + 1.5)]
    assert wrong(metering.calls_at_once_are_few_enough, evidence(asked=one_after_the_other)) == []
    too_many = evidence(asked=at_once(AT_ONCE.concurrency + 1))
    (line,) = wrong(metering.calls_at_once_are_few_enough, too_many)
    assert line.startswith(f"{AT_ONCE.concurrency + 1} calls to openai/gpt-4o at once")


def test_calls_of_other_models_count_for_their_provider_only() -> None:
    most = max(limit.concurrency or 0 for limit in LIMITS if limit.provider == "openai" and not limit.model)
    others = [asked("o3", NOON) for _ in range(most + 1)]
    (line,) = wrong(metering.calls_at_once_are_few_enough, evidence(asked=others))
    assert line.startswith(f"{most + 1} calls to openai at once")


@pytest.mark.parametrize(
    ("service", "late_seconds", "is_wrong"),
    [("worker-1", 0.1, False), ("worker-1", -0.1, True), ("worker-2", 0.1, True)],
    ids=["silent for longer than its lease", "silent for less", "another one is silent"],
)
def test_a_call_of_a_worker_that_is_taken_for_dead_takes_no_room(
    service: str, late_seconds: float, is_wrong: bool
) -> None:
    assert AT_ONCE.concurrency is not None
    frozen = Fault("freeze worker", service, NOON + 1, NOON + 20)
    again = asked("gpt-4o", NOON + 1 + metering.SILENT_SECONDS + late_seconds, worker="worker-2")
    calls = [*at_once(AT_ONCE.concurrency, seconds=15.0), again]
    found = wrong(metering.calls_at_once_are_few_enough, evidence(asked=calls, faults=[frozen]))
    assert bool(found) is is_wrong


@pytest.mark.parametrize(
    ("late_seconds", "is_wrong"),
    [(0.1, False), (metering.THAWING_SECONDS + 0.1, True)],
    ids=["at once", "later"],
)
def test_a_worker_that_asks_late_has_no_room_of_its_own(late_seconds: float, is_wrong: bool) -> None:
    assert AT_ONCE.concurrency is not None
    frozen = Fault("freeze worker", "worker-2", NOON - 20, NOON - 1)
    late = asked("gpt-4o", NOON - 1 + late_seconds, seconds=9.0, worker="worker-2")
    calls = [*at_once(AT_ONCE.concurrency, seconds=15.0), late]
    found = wrong(metering.calls_at_once_are_few_enough, evidence(asked=calls, faults=[frozen]))
    assert bool(found) is is_wrong


def test_no_minute_has_more_calls_than_are_allowed_wherever_it_begins() -> None:
    most = A_MINUTE.requests_per_minute
    assert A_MINUTE.model is not None
    assert most is not None
    spread = [asked(A_MINUTE.model, NOON + number * WINDOW_SECONDS / most) for number in range(3 * most)]
    assert wrong(metering.calls_a_minute_are_few_enough, evidence(asked=spread)) == []
    one_more = [*spread, asked(A_MINUTE.model, NOON + WINDOW_SECONDS + 0.5)]
    (line,) = wrong(metering.calls_a_minute_are_few_enough, evidence(asked=one_more))
    assert line.startswith(f"{most + 1} calls")


def bill(tokens: int, **more: Any) -> Asked:
    """A text that costs so many millionths of a dollar."""
    return asked("gpt-4o-mini", NOON, used=Used(fresh=tokens), **more)


PRICES = [{**PRICE, "model": "gpt-4o-mini"}, {**PRICE, "model": "o3", "usd_per_million_input": Decimal(9)}]


def test_a_budget_may_be_spent_to_its_last_cent() -> None:
    found = evidence(budgets=[BUDGET], prices=PRICES, asked=[bill(1000), bill(900, prompt="Tell of text 1.")])
    assert wrong(budgets.no_budget_is_overspent, found) == []
    assert wrong(budgets.all_that_is_billed_is_booked, found) == []


@pytest.mark.parametrize("column", ["spent_usd", "held_usd"])
def test_books_that_are_over_their_limit_are_found(column: str) -> None:
    over: Row = {**BUDGET, column: BUDGET[column] + Decimal("0.000001")}  # type: ignore[operator]
    (line,) = wrong(budgets.no_budget_is_overspent, evidence(budgets=[over]))
    assert line.startswith("0.001001 USD are booked")


def test_a_bill_that_is_over_the_limit_or_the_books_is_found() -> None:
    found = evidence(budgets=[BUDGET], prices=PRICES, asked=[bill(1001)])
    assert ["are billed" in line for line in wrong(budgets.no_budget_is_overspent, found)] == [True]
    booked: Row = {**BUDGET, "held_usd": Decimal(0)}
    found = evidence(budgets=[booked], prices=PRICES, asked=[bill(701)])
    assert wrong(budgets.no_budget_is_overspent, found) == []
    (line,) = wrong(budgets.all_that_is_billed_is_booked, found)
    assert "and 0.0007 booked" in line


def test_what_is_said_is_billed_and_a_model_is_known_with_its_date() -> None:
    prices = [{**PRICE, "provider": "anthropic", "model": "claude-haiku-4-5"}]
    used = Used(fresh=3, said=2)
    call = asked("claude-haiku-4-5-20251001", NOON, provider="anthropic", used=used)
    assert budgets.billed_usd(evidence(prices=prices, asked=[call]), OWNER) == Decimal("0.000007")


def claim(**columns: Any) -> Row:
    return {
        "message_id": TICKET,
        "kind": "lens_run",
        "job": RUN,
        "deaths": 0,
        "attempt": 1,
        "history": [],
    } | columns


def entry(
    ended: str,
    since: str = "2027-01-15T08:00:00+00:00",
    until: str = "2027-01-15T08:00:09+00:00",
    **more: Any,
) -> Row:
    return {"ended": ended, "worker_id": "worker-1:1", "from": since, "to": until, **more}


@pytest.mark.parametrize(
    ("claims", "is_wrong"),
    [
        ([claim(history=[entry("death")])], False),
        ([claim(history=[entry("handed_back")])], False),
        ([claim(history=[entry("error")])], True),
        ([claim(history=[entry("death", until="2027-01-15T08:00:04+00:00")])], True),
        ([claim()], True),
        ([claim(message_id=uuid4(), history=[entry("death")])], True),
        ([claim(message_id=uuid4(), kind="workflow_run", history=[entry("death")])], False),
    ],
    ids=["died", "handed back", "told its error", "died before", "ended", "another one died", "of a node"],
)
def test_a_hold_is_open_only_for_an_attempt_that_was_cut_short(claims: list[Row], is_wrong: bool) -> None:
    hold = {"ticket": TICKET, "usd": Decimal("0.01"), "taken_at": NOON + 5.0}
    found = evidence(claims=claims, open_holds=[hold])
    assert bool(wrong(budgets.holds_are_open_for_a_reason, found)) is is_wrong


@pytest.mark.parametrize(
    ("spent", "owner", "deaths", "is_wrong"),
    [
        ("0.00095", OWNER, 0, False),
        ("0.00085", OWNER, 0, True),
        ("0.00085", OWNER, 1, False),
        ("0.00095", str(uuid4()), 0, True),
    ],
    ids=["used up", "not used up", "made room when it was used up", "another one's"],
)
def test_a_run_may_fail_of_its_owners_budget_only_if_that_is_used_up(
    spent: str, owner: str, deaths: int, is_wrong: bool
) -> None:
    run = {"id": RUN, "status": "failed", "error_code": "budget.exceeded", "prompt": "", "answer": None}
    found = evidence(
        lens_runs=[{**run, "owner": owner}],
        budgets=[{**BUDGET, "spent_usd": Decimal(spent)}],
        claims=[claim(deaths=deaths)],
    )
    assert bool(wrong(ends.ends_are_right, found)) is is_wrong


@pytest.mark.parametrize(
    ("kind", "ended", "is_wrong"),
    [
        ("lens_run", entry("handed_back", error_code="provider.waiting"), False),
        ("team_run", entry("handed_back", error_code="budget.waiting"), False),
        ("media_poll", entry("handed_back", error_code="media.pending"), False),
        ("lens_run", entry("handed_back", error_code="media.pending"), True),
        ("media_poll", entry("handed_back"), True),
        ("team_run", entry("death", error_code="provider.waiting"), True),
    ],
    ids=["limit", "budget", "rendering", "rendering elsewhere", "without a word", "died"],
)
def test_an_attempt_is_put_back_for_a_reason(kind: str, ended: Row, is_wrong: bool) -> None:
    found = evidence(claims=[claim(kind=kind, history=[ended])])
    assert bool(wrong(processes.attempts_end_for_a_reason, found)) is is_wrong


def test_a_passage_that_is_left_is_found_however_lately_its_job_ended() -> None:
    passage = {"ticket": TICKET, "provider": "openai", "taken_at": "now", "claim": {"state": "finished"}}
    assert len(wrong(processes.no_passage_is_left, evidence(passages=[passage]))) == 1
    assert wrong(processes.no_passage_is_left, evidence()) == []


@pytest.mark.parametrize(
    ("faults", "is_wrong"),
    [
        ([], True),
        ([Fault("kill child", "worker-1", NOON - 40, NOON)], False),
        ([Fault("kill child", "worker-2", NOON - 40, NOON)], True),
        ([Fault("crash postgres", None, NOON - 9, NOON - AFTERMATH_SECONDS - 1)], True),
        ([Fault("boot refused", "worker-1", NOON - 2, NOON)], False),
    ],
    ids=["none", "killed", "another one was killed", "long ago", "a sibling could not boot"],
)
def test_a_process_ends_for_a_reason_of_its_own(faults: list[Fault], is_wrong: bool) -> None:
    found = evidence(faults=faults)
    found.exits.append(("worker-1", 2, NOON))
    assert bool(wrong(processes.processes_end_for_a_reason, found)) is is_wrong


@pytest.mark.parametrize(
    "said", ["lf-worker: the database can't be reached\n", "Process Process-2:\nTrace\n"]
)
def test_a_child_that_could_not_boot_takes_its_siblings_along_if_the_database_was_away(
    tmp_path: Path, said: str
) -> None:
    ledger = Ledger()
    crew = Crew({}, tmp_path, ledger)
    service = crew.services["worker-1"]

    def look_at_log(added: str) -> list[Fault]:
        with service.log.open("a", encoding="utf-8") as log:
            log.write(added)
        crew.tend()
        return [fault for fault in ledger.faults if fault.name == "boot refused"]

    for each in crew.services.values():
        each.ended_at = math.inf  # none is started
    assert look_at_log(said) == []
    with ledger.fault("restart postgres"):
        pass
    assert look_at_log('{"event": "lf-worker: fine"}\n') == []
    assert look_at_log(said) == service.endings
    assert [(fault.target, fault.ended_at) for fault in service.endings] == [("worker-1", None)]


@pytest.mark.parametrize(
    ("fault", "spoiled", "reason"),
    [
        (None, None, None),
        (None, "500", "failure of the provider"),
        (Fault("kill worker", "worker-1", NOON + 0.5, NOON + 0.6), None, "kill worker"),
        (Fault("terminate worker", "worker-1", NOON - 1, NOON + 1), None, "terminate worker"),
        (Fault("kill worker", "worker-2", NOON + 0.5, NOON + 0.6), None, None),
        (Fault("kill worker", "worker-1", NOON + 3, NOON + 4), None, None),
        (Fault("end sessions", None, NOON, NOON + 1), None, None),
        (Fault("read only", None, NOON - 1, NOON + 20), None, None),
        (Fault("crash postgres", None, NOON, NOON + 3), None, None),
    ],
    ids=[
        "nothing",
        "spoiled",
        "killed",
        "terminated",
        "another one was killed",
        "killed when it was written",
        "sessions ended",
        "read only",
        "crash of the database",
    ],
)
def test_a_call_is_made_again_for_a_failure_or_a_death_and_not_since_the_database_was_away(
    fault: Fault | None, spoiled: str | None, reason: str | None
) -> None:
    twice = [asked("gpt-4o", NOON, spoiled=spoiled), asked("gpt-4o", NOON + 30, worker="worker-2")]
    found = evidence(asked=twice, faults=[fault] if fault else [])
    assert list(calls.reasons_of_repeats(found, twice)) == [reason]
    assert bool(wrong(calls.calls_are_repeated_for_a_reason, found)) is (reason is None)


def test_a_call_of_a_worker_that_thaws_is_one_too_many_for_a_reason() -> None:
    frozen = Fault("freeze worker", "worker-1", NOON - 10, NOON)
    both = [asked("gpt-4o", NOON - 5, worker="worker-2"), asked("gpt-4o", NOON + 1)]
    found = evidence(asked=both, faults=[frozen])
    assert list(calls.reasons_of_repeats(found, both)) == ["thawed worker"]
    assert wrong(calls.calls_are_repeated_for_a_reason, found) == []


def test_a_fault_that_was_never_felt_is_found() -> None:
    felt, unfelt = Fault("read only", None, NOON), Fault("read only", None, NOON)
    felt.hits, unfelt.hits = 3, 0
    assert wrong(faults.faults_have_hit, evidence(faults=[felt, unfelt])) == []
    assert wrong(faults.faults_have_hit, evidence(faults=[Fault("kill worker", "worker-1", NOON)])) == []
    assert wrong(faults.faults_have_hit, evidence(faults=[unfelt])) == ["read only was never felt"]
