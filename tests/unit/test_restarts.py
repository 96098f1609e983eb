"""Pauses between restarts grow, are forgotten after a good run, and end after too many bad starts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.processes.restarts import (
    LONGEST_PAUSE_SECONDS,
    MOST_FRUITLESS_STARTS,
    STARTED_WELL_SECONDS,
    Restarts,
)

BAD_RUNS = st.floats(0, STARTED_WELL_SECONDS, exclude_max=True)
GOOD_RUNS = st.floats(STARTED_WELL_SECONDS, 1e9)


def test_pauses_double_until_there_is_no_other_start() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_seconds(0.5) for _ in range(MOST_FRUITLESS_STARTS)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, None]


@given(st.lists(GOOD_RUNS, min_size=1))
def test_a_process_that_runs_well_is_always_started_again_soon(runs: list[float]) -> None:
    restarts = Restarts()
    assert {restarts.pause_seconds(ran) for ran in runs} == {1.0}


@given(st.lists(st.one_of(BAD_RUNS, GOOD_RUNS), max_size=50))
def test_only_bad_starts_in_a_row_count(runs: list[float]) -> None:
    restarts = Restarts()
    in_a_row = 0
    for ran in runs:
        in_a_row = in_a_row + 1 if ran < STARTED_WELL_SECONDS else 0
        pause = restarts.pause_seconds(ran)
        assert (pause is None) is (in_a_row >= MOST_FRUITLESS_STARTS)
        assert pause is None or 0 < pause <= LONGEST_PAUSE_SECONDS
