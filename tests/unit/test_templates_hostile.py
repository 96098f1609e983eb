"""Templates written to stall, bloat or crash the worker end soon, with a code that says why."""

from __future__ import annotations

import time
import traceback
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import GiveUp
from app.templates import Limits, render_liquid
from app.templates.filters import FILTERS

#: Far above what any of these takes, and above the deadline of one rendering; the machine may be busy.
SOON_SECONDS = 2.0

BIG = "x" * 100_000
EMOJI = "\U0001f600" * 1_000_000
SYNTAX, LIMIT, FAILED = "template.syntax", "template.limit_exceeded", "template.failed"
DOUBLED = (
    "{% assign %s = %s | concat: none %}{% for i in (1..13) %}{% assign %s = %s | concat: %s %}{% endfor %}"
)
COPIES = DOUBLED.replace("%s", "huge")
ENDLESS = "{% for i in (1..9999) %}%s{% endfor %}"

HOSTILE = {
    "reversed range": ("{% for i in (1..1000000000) reversed %}{% endfor %}", LIMIT),
    "offset into a range": ("{% for i in (1..1000000000) offset: 999999990 %}{% endfor %}", LIMIT),
    "assigned range": ("{% assign r = (1..1000000000) %}{{ r.size }}", LIMIT),
    "joined range": ("{{ (1..30000000) | join: '' | size }}", LIMIT),
    "search in a range": ("{% if (1..1000000000) contains 'x' %}{% endif %}", LIMIT),
    "range of huge numbers": (f"{{{{ ({'9' * 4000}..{'9' * 4001}) }}}}", LIMIT),
    "replace bomb": (
        f"{{{{ '{'a' * 1000}' | replace: 'a', '{'b' * 1000}' | replace: 'b', '{'c' * 1000}' }}}}",
        LIMIT,
    ),
    "replace of nothing": ("{{ big | replace: '', big }}", LIMIT),
    "join with a huge separator": ("{{ (1..10000) | join: big }}", LIMIT),
    "split into characters": ("{{ big | split: '' | size }}", LIMIT),
    "300 loops in a row": ("{% for i in (1..9999) %}{% endfor %}" * 300, LIMIT),
    "nested loops": (ENDLESS.replace("%s", ENDLESS.replace("%s", "")), LIMIT),
    "empty blocks in a loop": (ENDLESS.replace("%s", "{% if true %}{% endif %}" * 600), LIMIT),
    "literals in a loop": (ENDLESS.replace("%s", "{{1}}" * 3000), LIMIT),
    "sorting in a loop": (ENDLESS.replace("%s", "{% assign z = (1..10000) | sort_natural %}"), LIMIT),
    "repeated output delimiter": ("{{" * 8192, SYNTAX),
    "repeated output delimiter, closed": ("{{" * 8191 + "}}", SYNTAX),
    "repeated tag delimiter": ("{%" * 8192, SYNTAX),
    "repeated raw": ("{% raw %}" * 1800, SYNTAX),
    "repeated raw in a comment": ("{% comment %}" + "{% raw %}" * 1800 + "{% endcomment %}", SYNTAX),
    "repeated comment": ("{% comment %}" * 1200, SYNTAX),
    "repeated doc": ("{% doc %}" * 1800, SYNTAX),
    "blank output": ("{{" + " " * 16_000 + "}}", SYNTAX),
    "blank tag": ("{% if" + " " * 16_000 + "%}", SYNTAX),
    "blanks in a liquid tag": ("{% liquid echo a" + " " * 16_000 + "b %}", SYNTAX),
    "parentheses": ("{{ " + "(" * 16_000 + " }}", SYNTAX),
    "brackets": ("{{ " + "[" * 16_000 + " }}", SYNTAX),
    "brackets and quotes": ("{{ " + "['" * 400 + " }}", SYNTAX),
    "deep blocks": ("{% if true %}" * 600 + "{% endif %}" * 600, LIMIT),
    "deep condition": ("{% if " + "true and " * 1700 + "true %}{% endif %}", LIMIT),
    "huge number": ("{{ " + "9" * 16_000 + " }}", SYNTAX),
    "product of huge numbers": (f"{{{{ {'9' * 4000} | times: {'9' * 4000} }}}}", LIMIT),
    "repeated squares": (
        "{% assign a = 9 %}{% for i in (1..99) %}{% assign a = a | times: a %}{% endfor %}",
        LIMIT,
    ),
    "number of many digits in text": ("{{ digits | plus: 1 }}", LIMIT),
    "number of many digits and a point": ("{{ decimals | plus: 1 }}", LIMIT),
    "huge product": (f"{{{{ 1{'0' * 300}.0 | times: 1{'0' * 300}.0 }}}}", LIMIT),
    "huge rounding": (f"{{{{ 1{'0' * 300}.5 | round: 300 | times: 1{'0' * 300}.5 }}}}", LIMIT),
    "string doubling": (
        "{% assign a = 'xxxx' %}{% for i in (1..99) %}{% assign a = a | append: a %}{% endfor %}",
        LIMIT,
    ),
    "capture doubling": (
        "{% assign a = 'xxxx' %}"
        "{% for i in (1..99) %}{% capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}",
        LIMIT,
    ),
    "many variables": (
        "".join(f"{{% assign a{i} = big | append: big %}}" for i in range(400)),
        LIMIT,
    ),
    "many lists": ("".join(f"{{% assign a{i} = csv | split: ',' %}}" for i in range(400)), LIMIT),
    "long output": ("{% for i in (1..9999) %}{{ big }}{% endfor %}", LIMIT),
    "long output by tokens": ("{% for i in (1..9999) %}[[big]]{% endfor %}", LIMIT),
    "escapes of many bytes": ("{{ emoji | url_encode }}", LIMIT),
    "format of a huge width": ("{{ 'now' | date: form }}", LIMIT),
    "arguments by the names of ours": ("{{ big | append: context: 1 }}", FAILED),
    "index of many digits": ("{{ big | slice: digits }}", LIMIT),
    "concat doubling": (
        "{% assign a = nine %}{% for i in (1..99) %}{% assign a = a | concat: a %}{% endfor %}",
        LIMIT,
    ),
    "join of copies of a huge object": (COPIES + "{{ huge | join }}", LIMIT),
    "sorting copies of a huge object": (COPIES + "{{ huge | sort_natural }}", LIMIT),
    "telling copies of a huge object apart": (COPIES + "{{ huge | uniq }}", LIMIT),
    "copies of a huge object as JSON": (COPIES + "{{ huge | json }}", LIMIT),
    "comparing copies of huge objects": (
        COPIES + DOUBLED.replace("%s", "equal") + "{% if huge == equal %}{% endif %}",
        LIMIT,
    ),
    "searching copies of a huge object": (COPIES + "{% if huge contains twin %}{% endif %}", LIMIT),
    "lists of empty lists": ("{{ empties | compact | size }}", LIMIT),
    "Base64 of too much": ("{{ emoji | base64_encode }}", LIMIT),
    "entities of too much": ("{{ quotes | escape_once }}", LIMIT),
    "counting up": (ENDLESS.replace("%s", "{% increment a %}" * 600), LIMIT),
    "nested tables": (
        "{% tablerow i in (1..9999) %}{% tablerow j in (1..9999) %}{% endtablerow %}{% endtablerow %}",
        LIMIT,
    ),
    "long changes": (
        "{% for i in (1..9999) %}{% ifchanged %}{{ i }}{{ big }}{% endifchanged %}{% endfor %}",
        LIMIT,
    ),
    "search in a list in a loop": (
        ENDLESS.replace("%s", "{% if csv_list contains 1 %}{% endif %}" * 400),
        LIMIT,
    ),
}


@pytest.mark.parametrize(("body", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_ends_soon_with_the_right_code(body, code):
    inputs = {
        "big": BIG,
        "emoji": EMOJI,
        "digits": "9" * 4300,
        "csv": "aaaaaaaa," * 9_000,
        "form": "%99999d" * 20_000,
        "decimals": "0." + "9" * 4300,
        "huge": {f"{i:04}": "x" * 1000 for i in range(1000)},
        "equal": {f"{i:04}": "x" * 1000 for i in range(1000)},
        "twin": {f"{i:04}": "x" * 1000 for i in range(1000)} | {"0999": "y"},
        "none": [],
        "empties": [[[]] * 1000] * 20,
        "nine": [1] * 9,
        "quotes": '"' * 500_000,
        "csv_list": ["aaaaaaaa"] * 9_000,
    }
    limits = Limits(source_characters=20_000)
    started = time.thread_time()
    with pytest.raises(GiveUp) as raised:
        render_liquid(body, inputs, limits=limits)
    assert time.thread_time() - started < SOON_SECONDS
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ '1e999999999' | plus: 1 }}", "2"),
        ("{{ 'nan' | round }}", "0"),
        (f"{{{{ 1{'0' * 300}.0 | modulo: 0.0001 }}}}", "0.0"),
        ("{{ 2.5 | round: 1000000000 }} {{ 7 | round: -1000000000 }}", "2.5 0"),
        ("{{ digits | date: '%Y' | size }}", "4300"),
        ("{{ 99999999999999999999 | date: '%Y' }}", "99999999999999999999"),
        ("{{ tags | strip_html | size }}", "700000"),
        ("{{ unclosed | strip_html | size }}", "900000"),
        ("{{ ampersands | escape_once | size }}", "1000000"),
        ("{{ 'abc' | slice: 99999999999999999999, 99999999999999999999 }}", ""),
        ("{{ 5 | map: 99999999999999999999 }}", "[0]"),
    ],
)
def test_what_looks_costly_is_cheap(body, expected):
    inputs = {
        "digits": "9" * 4300,
        "tags": "<script" * 100_000,
        "unclosed": "<!--<style" * 90_000,
        "ampersands": "&amp;" * 200_000,
    }
    started = time.thread_time()
    assert render_liquid(body, inputs) == expected
    assert time.thread_time() - started < SOON_SECONDS


def test_a_source_that_is_too_long_is_refused():
    with pytest.raises(GiveUp) as raised:
        render_liquid("{{ a }}" + "x" * 16_384, {"a": 1})
    assert raised.value.code == "template.too_large"


def test_the_deadline_holds():
    started = time.thread_time()
    with pytest.raises(GiveUp, match=r"longer than 0\.05 s"):
        render_liquid(HOSTILE["literals in a loop"][0], {}, limits=Limits(seconds=0.05))
    assert time.thread_time() - started < 1


def test_loops_in_a_row_are_counted_together():
    limits = Limits(loop_iterations=10)
    three_times = "{% for i in list %}.{% endfor %}"
    assert render_liquid(three_times * 3, {"list": [1, 2, 3]}, limits=limits) == "." * 9
    with pytest.raises(GiveUp, match="more than 10 times"):
        render_liquid(three_times * 4, {"list": [1, 2, 3]}, limits=limits)


def test_keys_of_cycle_are_not_kept():
    key = "{% capture k %}{{ big }}{{ i }}{% endcapture %}"
    tracemalloc.start()
    try:
        body = f"{{% for i in (1..300) %}}{key}{{% cycle k: 1, 2 %}}{{% endfor %}}"
        assert render_liquid(body, {"big": BIG}, limits=Limits(seconds=30)) == "1" * 300
        assert tracemalloc.get_traced_memory()[1] < 20 * len(BIG)
    finally:
        tracemalloc.stop()


def test_an_abort_of_the_thread_is_not_swallowed():
    class Aborted(BaseException):
        pass

    class Trap(dict):
        def __getitem__(self, key: str) -> object:
            raise Aborted

    with pytest.raises(Aborted):
        render_liquid("{{ trap.x | upcase }}", {"trap": Trap()})


def test_an_unforeseen_error_becomes_a_failure_without_its_message():
    class Trap(dict):
        def __getitem__(self, key: str) -> object:
            raise ArithmeticError("s3cret")

    with pytest.raises(GiveUp) as raised:
        render_liquid("{{ trap.x }}", {"trap": Trap()})
    assert raised.value.code == FAILED
    assert "ArithmeticError" in raised.value.message
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


FRAGMENTS = [
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "-",
        " ",
        "\n",
        "[",
        "]",
        "(",
        ")",
        "..",
        "|",
        ":",
        ",",
        "=",
        "==",
        ".",
        "'",
        '"',
    ),
    *("if", "elsif", "else", "endif", "for i in", "endfor", "case", "when", "endcase", "raw", "endraw"),
    *("comment", "endcomment", "liquid", "assign x =", "capture x", "endcapture", "cycle", "echo", "break"),
    *("limit", "offset", "reversed", "contains", "and", "empty", "nil", "true", "1", "-2.5", "(1..3)"),
    *(
        "v",
        "list",
        "o",
        "o.k",
        "x",
        "nobody",
        "[[v]]",
        "[[",
        "]]",
        "é",
        "{{ v }}",
        "{% if v %}",
        "{% endif %}",
    ),
    *(
        "upcase",
        "default",
        "split",
        "join",
        "map",
        "sort",
        "where",
        "date",
        "plus",
        "times",
        "round",
        "slice",
    ),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def is_rendered_or_given_up(body: str, value: object) -> bool:
    """Whether it ends in a text, or in an error of templates' own that quotes no input."""
    inputs = {"v": "s3cret-value", "list": ["s3cret-value", value], "o": {"k": value}, "x": value}
    try:
        rendered = render_liquid(body, inputs)
    except GiveUp as error:
        told = "".join(traceback.format_exception(error))
        return error.code.startswith("template.") and "s3cret" not in told
    return isinstance(rendered, str)


@settings(max_examples=300, deadline=2000)
@given(body=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=2), max_size=30).map("".join), value=JSON)
def test_no_text_makes_rendering_raise_anything_else(body, value):
    assert is_rendered_or_given_up(body, value)


@settings(max_examples=300, deadline=2000)
@given(
    start=st.sampled_from(["v", "list", "o", "o.k", "x", "(1..3)", "'a,b'", "-2.5", "nil"]),
    chain=st.lists(
        st.tuples(
            st.sampled_from(sorted(FILTERS)),
            st.lists(
                st.sampled_from(["1", "-3", "'a'", "v", "list", "o", "x", "nil", "''", "0.5"]), max_size=2
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    value=JSON,
)
def test_no_filter_makes_rendering_raise_anything_else(start, chain, value):
    filters = "".join(f" | {name}{': ' if args else ''}{', '.join(args)}" for name, args in chain)
    assert is_rendered_or_given_up(f"{{{{ {start}{filters} }}}}", value)
