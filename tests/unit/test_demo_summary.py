"""The demo is only well when there was work and all of it ended as expected."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.cli.demo.display import LABEL_WIDTH
from app.cli.demo.lens_run_cases import lens_run_cases
from app.cli.demo.scenario import Summary, Tally, merged, percentile

MILLISECONDS = st.floats(min_value=0, max_value=1e6)


def test_nothing_to_do_is_not_well() -> None:
    assert not Summary().ok


def test_everything_ended_as_expected_is_well() -> None:
    summary = Summary(
        {"lens_run": [Tally("a", succeeded=2, pickups_ms=(1.0, 3.0)), Tally("b", failed=1)]},
        {"lens_run": 4.25},
    )
    assert summary.ok
    told = summary.as_json()
    assert told["ok"] is True
    figures = told["kinds"]["lens_run"]
    assert [case["case"] for case in figures.pop("cases")] == ["a", "b"]
    assert figures == {
        "queued": 3,
        "succeeded": 2,
        "failed": 1,
        "pickup_ms": {"p50": 1.0, "p99": 3.0},
        "seconds": 4.25,
    }


def test_a_job_still_waiting_is_not_well() -> None:
    assert not Summary({"lens_run": [Tally("a", succeeded=2, queued=1)]}).ok
    assert not Summary({"lens_run": [Tally("a", succeeded=2, running=1)]}).ok


def test_a_surprise_is_not_well_and_is_named() -> None:
    summary = Summary({"lens_run": [Tally("a", succeeded=1, surprises=("no artifact",))]})
    assert not summary.ok
    assert summary.surprises == ["a: no artifact"]


def test_what_is_unfinished_is_named() -> None:
    summary = Summary({"lens_run": [Tally("a", succeeded=2), Tally("b", queued=1, running=2)]})
    assert summary.unfinished == ["lens_run (b: 1 waiting, 2 running)"]


def test_cases_of_one_label_are_shown_as_one() -> None:
    shown = merged([Tally("a", "x", succeeded=1), Tally("b"), Tally("a", "x", failed=2, surprises=("no",))])
    assert shown == [Tally("a", "x", succeeded=1, failed=2, surprises=("no",)), Tally("b")]


def test_trouble_is_not_well() -> None:
    assert not Summary({"lens_run": [Tally("a", succeeded=1)]}, trouble="not finished after 1 s").ok


def test_figures_of_nothing_are_null() -> None:
    figures = Summary({"lens_run": [Tally("a", queued=1)]}).as_json()["kinds"]["lens_run"]
    assert json.loads(json.dumps(figures))["pickup_ms"] == {"p50": None, "p99": None}


@given(st.lists(MILLISECONDS, min_size=1), st.floats(min_value=0, max_value=100))
def test_a_percentile_is_one_of_the_values_with_enough_below_it(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100


@given(st.lists(MILLISECONDS, min_size=1))
def test_the_last_percentile_is_the_longest(values: list[float]) -> None:
    assert percentile(values, 100) == max(values)


def test_every_case_of_the_demo_says_how_it_ends_and_has_a_label_of_its_own() -> None:
    cases = lens_run_cases()
    assert all((case.asked is None) != (case.error_code is None) for case in cases)
    assert len({(case.label, case.model) for case in cases}) == len(cases)
    assert max(len(case.label) for case in cases) <= LABEL_WIDTH
