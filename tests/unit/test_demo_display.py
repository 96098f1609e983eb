"""What the demo prints fits its terminal, and shows what is wrong in place of what should have come out."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from app.cli.demo.display import LABEL_WIDTH, MAX_WIDTH, open_display
from app.cli.demo.scenario import Tally
from app.cli.demo.workflow_runs import Event, disorder

WELL = [Tally("a case", "answered", succeeded=2, pickups_ms=(1.0, 3.0))]
LONG = "Rosa  review, round 1  " + "It is not yet what was asked for. " * 6


def printed(width: int, *, line: str = "Something.", tallies: list[Tally] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with open_display(console, quiet=False) as display:
        display.heading("A title", "What is done.")
        display.say(line)
        display.results(tallies or WELL, 1.26)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_scenario_has_a_heading_its_cases_and_their_sum() -> None:
    assert printed(80) == [
        "",
        "A title",
        "  What is done.",
        "  Something.",
        f"  ✓  {'a case':<{LABEL_WIDTH}}   2  answered",
        "  2 jobs in 1.3 s; a worker began after 1 ms (median), 3 ms (longest)",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_line_is_longer_than_the_terminal_or_than_can_be_read(width: int) -> None:
    wrong = Tally("a case", "answered", failed=1, surprises=("failed with a long explanation " * 5,))
    assert max(map(len, printed(width, line=LONG, tallies=[wrong]))) <= min(width, MAX_WIDTH)


def test_a_long_line_goes_on_below_its_last_column() -> None:
    lines = printed(80, line=LONG)
    column = lines[3].index("It is not")
    assert lines[4][:column].isspace()
    assert lines[4][column] != " "


def test_a_surprise_stands_where_the_outcome_would() -> None:
    lines = printed(80, tallies=[Tally("a case", "answered", failed=1, surprises=("no artifact",))])
    assert f"  ✗  {'a case':<{LABEL_WIDTH}}   1  no artifact" in lines
    assert not any("answered" in line for line in lines)


IN_ORDER = [
    Event(1, "run.started", "", 0.0),
    Event(2, "node.started", "greet", 1.0),
    Event(3, "node.completed", "greet", 2.0),
    Event(4, "run.completed", "", 3.0),
]


def test_events_in_order_are_well() -> None:
    assert disorder(IN_ORDER) is None


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([], "don't begin"),
        (IN_ORDER[1:], "numbered 2, 3, 4"),
        ([IN_ORDER[0], *IN_ORDER[2:]], "numbered 1, 3, 4"),
        (IN_ORDER[:3], "don't tell of its end"),
        ([IN_ORDER[0], Event(2, "node.completed", "greet", 1.0)], "before it was started"),
    ],
    ids=["none", "late", "gap", "endless", "unstarted"],
)
def test_events_out_of_order_are_complained_of(events: list[Event], complaint: str) -> None:
    assert complaint in (disorder(events) or "")
