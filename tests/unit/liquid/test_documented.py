"""docs/templates.md names every tag and filter that there is, no others, and the limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.errors import GiveUp
from app.templates import Limits, render_liquid
from app.templates.filters import FILTERS
from app.templates.liquid import TAGS

DOCUMENT = (Path(__file__).parents[3] / "docs/templates.md").read_text()
#: What the library has tags for that nobody writes.
UNWRITTEN = {"content", "output", "illegal"}
#: Parts of other tags, and one that the lexer knows by itself.
PARTS = {"else", "elsif", "when", "raw"}


def names_in_table(heading: str, columns: int | slice) -> list[str]:
    """The names between backticks in the table below a heading, of some of its columns."""
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [name for row in rows[1:] for name in re.findall(r"`([^`]+)`", " ".join(row[columns]))]


def test_every_tag_is_documented_and_no_other() -> None:
    names = names_in_table("Tags", slice(None))
    assert sorted(names) == sorted({tag.name for tag in TAGS} - UNWRITTEN | PARTS)


def test_every_filter_is_documented_and_no_other() -> None:
    assert sorted(names_in_table("Filters", slice(1, 2))) == sorted(FILTERS)


@pytest.mark.parametrize("name", ["include", "render", "form", "layout", "paginate", "section", "style"])
def test_what_is_said_to_be_no_tag_is_none(name):
    assert f"`{name}`" in DOCUMENT
    with pytest.raises(GiveUp, match=f"unexpected tag '{name}'"):
        render_liquid(f"{{% {name} 'x' %}}", {})


@pytest.mark.parametrize("name", ["money", "image_url", "asset_url", "t", "hmac_sha256", "md5"])
def test_what_is_said_to_be_no_filter_is_none(name):
    assert f"`{name}`" in DOCUMENT
    with pytest.raises(GiveUp, match=f"unknown filter '{name}'"):
        render_liquid(f"{{{{ 'x' | {name} }}}}", {})


def test_the_limits_are_as_documented() -> None:
    documented = Limits(
        source_characters=16 * 1024,
        text_characters=1024**2,
        items=10_000,
        loop_iterations=20_000,
        variable_characters=4 * 1024**2,
        number_bits=4_096,
        seconds=1,
    )
    assert documented == Limits()
    for stated in ("16 KiB", "1 MiB", "10,000 items", "20,000 turns", "4 MiB", "4,096 bits", "one second"):
        assert stated in " ".join(DOCUMENT.split())


@pytest.mark.parametrize(
    ("body", "rendered"),
    [
        ("{{ name | default: '' }}.", "."),
        ("{{ 100000000000000000.0 }} {{ -2.5 | times: 0 }}", "100000000000000000 0.0"),
        ("{{ list }}{{ list | append: '!' }}", "[1, null][1, null]!"),
        ("{{ 'aa' | replace: 'a', '\\0' }}", "\\0\\0"),
        ("{{ '2024-02-30' | date: '%F' }}", "2024-02-30"),
        ("{{ 'due 2024-02-03' | date: '%F' }}", "due 2024-02-03"),
        ("[[limit]]", "5"),
    ],
)
def test_what_is_said_to_differ_does(body, rendered):
    assert render_liquid(body, {"list": [1, None], "limit": 5}) == rendered
