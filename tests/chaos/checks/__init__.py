"""What must hold whatever happened: each check gives a line for every thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.chaos.checks import budgets, calls, ends, faults, metering, processes, results
from tests.chaos.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    faults.faults_have_hit,
    ends.everything_has_ended,
    ends.nothing_accepted_is_lost,
    ends.ends_are_right,
    results.results_are_there_once,
    results.battles_are_opened_once,
    calls.webhooks_are_delivered_once,
    results.answers_are_of_the_newest_attempt,
    calls.calls_are_repeated_for_a_reason,
    calls.media_are_ordered_once,
    calls.messages_are_sent_once,
    processes.attempts_end_for_a_reason,
    processes.processes_end_for_a_reason,
    ends.votes_are_seen,
    metering.calls_at_once_are_few_enough,
    metering.calls_a_minute_are_few_enough,
    budgets.no_budget_is_overspent,
    budgets.all_that_is_billed_is_booked,
    budgets.holds_are_open_for_a_reason,
    processes.no_passage_is_left,
    processes.sessions_are_few_and_free,
    processes.all_workers_are_back,
)
