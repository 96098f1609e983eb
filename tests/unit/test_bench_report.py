"""Figures of a benchmark: judged by their goals, and counted and shown with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.journal import Journal, read_journal
from bench.report import at_least, at_most, cell, goals_met, show

figures = st.floats(min_value=-1e6, max_value=1e6)


@given(value=figures, bound=figures)
def test_a_figure_on_its_bound_meets_the_goal_from_either_side(value: float, bound: float) -> None:
    assert at_most(value, bound)["met"] == (value <= bound)
    assert at_least(value, bound)["met"] == (value >= bound)
    assert at_most(bound, bound)["met"]
    assert at_least(bound, bound)["met"]


def test_a_figure_is_judged_before_it_is_rounded() -> None:
    assert at_most(20.004, 20) == {"value": 20.0, "goal": "<= 20", "met": False}


def test_nothing_measured_meets_no_goal() -> None:
    assert not at_most(None, 1)["met"]
    assert not at_least(None, 0)["met"]


def test_goals_are_found_at_any_depth_of_a_report() -> None:
    report = {"a": {"b": at_most(1, 2)}, "rows": [{"x": at_least(1, 2)}, {"x": 3}], "note": "text"}
    assert list(goals_met(report)) == [True, False]


def test_a_judged_figure_is_shown_with_its_goal() -> None:
    assert cell(at_most(1234.5, 2000)) == "1,234.50 ✓ (<= 2000)"
    assert cell(at_least(1, 2)) == "1 ✗ (>= 2)"
    assert cell({"p50": at_most(1, 2), "n": 3}) == "p50 1 ✓ (<= 2), n 3"


def test_a_report_for_programs_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"drain": [{"stock": None, "ours": at_least(3, 2)}]}
    show(report, as_json=True)
    assert json.loads(capsys.readouterr().out) == report


def test_a_report_for_people_names_every_column_and_counts_the_goals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(
        {"drain": [{"threads": 8}, {"threads": 64, "note": "stalled"}]} | {"x": at_most(1, 0)}, as_json=False
    )
    shown = capsys.readouterr().out
    assert "threads" in shown
    assert "stalled" in shown
    assert "0 of 1 goals met" in shown


def test_a_journal_gives_back_what_was_written_and_skips_a_half_written_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert read_journal(path) == []
    journal = Journal(path)
    journal.write(1)
    journal.write(2)
    with path.open("ab") as file:
        file.write(b"half")
    assert [entry.sent_at_ns for entry in read_journal(path)] == [1, 2]
    assert all(entry.began_at_ns > 2 for entry in read_journal(path))
