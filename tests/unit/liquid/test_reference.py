"""Every filter over odd values gives what Shopify Liquid gives; reference.rb has asked it."""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.errors import GiveUp
from app.templates import Limits, render_liquid
from app.templates.filters import FILTERS

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())
CALLS: list[tuple[str, list[str | None]]] = REFERENCE["calls"]
#: Filters that are newer than the release that was asked, or not its own: test_filters.py has them.
NOT_ASKED = {"find", "find_index", "h", "has", "json", "reject", "squish", "sum"}


class Reason(StrEnum):
    """Why a result may differ; docs/templates.md tells users."""

    NO_SIGN_OF_ZERO = "zero has no sign"
    NO_INFINITY = "a decimal that is divided by 0 is an error too"
    EMPTY_NAME = "nil is the empty name of a property, as in newer releases"
    ORDER_OF_EQUALS = "equal items keep their order"
    DATE_IN_PROSE = "a date isn't looked for in other text"


#: How many results differ, for each reason.
DIFFERENCES = {
    Reason.NO_SIGN_OF_ZERO: 59,
    Reason.NO_INFINITY: 32,
    Reason.EMPTY_NAME: 68,
    Reason.ORDER_OF_EQUALS: 15,
    Reason.DATE_IN_PROSE: 8,
}

EMPTY_NAMES = ("map: nil", "map: missing", "where: nil", "where: missing")


def applied(call: str, value: object) -> Any:
    """What a filter gives here: data or an error of ours."""
    inputs = {"value": value, "list": ["a", "b"], "object": {"a": 1}}
    try:
        text = render_liquid(f"{{{{ value | {call} | json }}}}", inputs, limits=Limits(seconds=60))
        return json.loads(text)
    except GiveUp as error:
        return error


def difference(call: str, value: object, expected: str | None) -> Reason | str | None:
    """Why a result differs; a text of what was wrong if that has no good reason."""
    result = applied(call, value)
    given = result.code if isinstance(result, GiveUp) else json.dumps(result, sort_keys=True)
    wanted = "template.failed" if expected is None else json.dumps(json.loads(expected), sort_keys=True)
    return None if given == wanted else reason(call, value, given, wanted)


def reason(call: str, value: object, given: str, wanted: str) -> Reason | str:
    """Why the JSON of a result, or the code of its error, isn't the wanted one."""
    reasons = {
        Reason.NO_SIGN_OF_ZERO: (given, wanted) == ("0.0", "-0.0"),
        Reason.NO_INFINITY: given == "template.failed" and wanted in ('"Infinity"', '"-Infinity"'),
        Reason.EMPTY_NAME: wanted == "template.failed" and call in EMPTY_NAMES,
        Reason.ORDER_OF_EQUALS: call.startswith("sort_natural: ") and sorted(given) == sorted(wanted),
        Reason.DATE_IN_PROSE: call.startswith("date: ") and given == json.dumps(value),
    }
    return next(
        (reason for reason, holds in reasons.items() if holds),
        f"{value!r} | {call} gives {given}, not {wanted}",
    )


def test_every_filter_gives_what_the_reference_gives_and_no_reason_explains_more_than_it_did():
    found = Counter(
        difference(call, value, expected)
        for call, results in CALLS
        for value, expected in zip(REFERENCE["values"], results, strict=True)
    )
    del found[None]
    assert found == DIFFERENCES


def test_every_filter_was_asked():
    assert {call.split(":")[0] for call, _ in CALLS} == set(FILTERS) - NOT_ASKED
