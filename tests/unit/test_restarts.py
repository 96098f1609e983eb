"""Pauses between restarts grow up to a longest, are forgotten after a good run, and never end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.processes.restarts import (
    ALARMING_STARTS,
    LONGEST_PAUSE_SECONDS,
    STARTED_WELL_SECONDS,
    Restarts,
)

BAD_RUNS = st.floats(0, STARTED_WELL_SECONDS, exclude_max=True)
GOOD_RUNS = st.floats(STARTED_WELL_SECONDS, 1e9)


def test_pauses_double_up_to_the_longest_and_never_end() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_seconds(0.5) for _ in range(8)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_somebody_is_told_once_when_starts_are_no_use() -> None:
    restarts = Restarts()
    alarms = []
    for _ in range(20):
        restarts.pause_seconds(0.5)
        alarms.append(restarts.is_alarming)
    assert [start for start, told in enumerate(alarms, start=1) if told] == [ALARMING_STARTS]


@given(st.lists(GOOD_RUNS, min_size=1))
def test_a_process_that_runs_well_is_always_started_again_soon(runs: list[float]) -> None:
    restarts = Restarts()
    assert {restarts.pause_seconds(ran) for ran in runs} == {1.0}


@given(st.lists(st.one_of(BAD_RUNS, GOOD_RUNS), max_size=2000))
def test_only_bad_starts_in_a_row_count(runs: list[float]) -> None:
    restarts = Restarts()
    in_a_row = 0
    for ran in runs:
        in_a_row = in_a_row + 1 if ran < STARTED_WELL_SECONDS else 0
        assert 0 < restarts.pause_seconds(ran) <= LONGEST_PAUSE_SECONDS
        assert restarts.is_alarming is (in_a_row == ALARMING_STARTS)
