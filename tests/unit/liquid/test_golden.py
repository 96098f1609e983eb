"""golden-liquid: what Shopify Liquid gives, case by case, and the reason of each that differs here."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from app.errors import GiveUp
from app.templates import Limits, render_liquid

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden.json").read_text())["cases"]


class Reason(StrEnum):
    """Why a case differs; docs/templates.md tells users."""

    OTHER_TEMPLATES = "it loads another template"
    MISSING_IS_AN_ERROR = "it prints a variable that is missing"
    DATA_IS_JSON = "it prints a list"


DIFFERENCES = {
    Reason.OTHER_TEMPLATES: [
        "tags, include, assign persists in outer scope",
        "tags, include, bound variable does not exist",
        "tags, include, break from nested include",
        "tags, include, counter from outer scope",
        "tags, include, name from identifier",
        "tags, include, some keyword arguments",
        "tags, include, some keyword arguments with float literals",
        "tags, include, some keyword arguments with range literal",
        "tags, include, some keyword arguments without leading comma",
        "tags, render, assign to keyword argument",
        "tags, render, assigned variables do not leak into outer scope",
        "tags, render, bound array variable",
        "tags, render, bound variable",
        "tags, render, bound variable with alias",
        "tags, render, for loop variables go out of scope",
        "tags, render, forloop helper",
        "tags, render, some keyword arguments including a range literal",
        "tags, render, string literal name",
    ],
    Reason.MISSING_IS_AN_ERROR: [
        "output, negative array index out of bounds",
        "output, render an undefined property",
        "output, render an undefined variable",
        "special, size of undefined",
        "tags, echo, render an undefined variable",
        "tags, for, forloop goes out of scope",
        "tags, for, forloop no such attribute",
        "tags, for, parentloop goes out of scope",
    ],
    Reason.DATA_IS_JSON: [
        "filters, compact, left value is undefined",
        "filters, split, undefined left value",
        "filters, where, both arguments are undefined",
        "filters, where, left value is undefined",
        "tags, echo, dump an array from the global context",
    ],
}
REASONS = {name: reason for reason, names in DIFFERENCES.items() for name in names}


def rendered(case: dict[str, Any]) -> str | GiveUp:
    """What the case's template gives here: a text or an error of ours."""
    try:
        return render_liquid(case["template"], case.get("data", {}), limits=Limits(seconds=60))
    except GiveUp as error:
        return error


def agrees(result: str | GiveUp, results: list[str]) -> bool:
    """Whether it is one of the results, or an error where there are none."""
    return result in results if results else isinstance(result, GiveUp)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_case_gives_what_the_reference_gives_or_has_a_reason(case):
    result = rendered(case)
    match REASONS.get(case["name"]):
        case None:
            assert agrees(result, case["results"])
        case Reason.OTHER_TEMPLATES:
            assert isinstance(result, GiveUp)
            assert "'include'" in result.message or "'render'" in result.message
        case Reason.MISSING_IS_AN_ERROR:
            assert isinstance(result, GiveUp)
            assert result.code == "template.missing_input"
        case Reason.DATA_IS_JSON:
            assert result in ("[]", '["sports", "garden"]')


def test_every_difference_is_a_case_that_differs():
    differing = {case["name"] for case in CASES if not agrees(rendered(case), case["results"])}
    assert differing == set(REASONS)
    assert len(REASONS) == sum(map(len, DIFFERENCES.values()))
    assert len(CASES) - len(differing) == 665
