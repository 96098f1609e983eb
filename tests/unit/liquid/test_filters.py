"""Filters by hand: what they give for the values that people pass, and that no value makes a run fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import GiveUp
from app.templates import render_liquid
from app.templates.filters import FILTERS

INPUTS = {
    "no": False,
    "nothing": None,
    "people": [{"n": "Ada", "age": 36, "ok": True}, {"n": "Bob", "age": None}, {"n": "Cid", "age": 7.5}],
    "mixed": [1, None, True, "a", {"n": 1}],
    "nested": [1, [2, [3, None]]],
    "html": '<p class="x">Tom &amp; <b>Jerry</b></p><script>if (a < b) {}</script><!-- > -->',
    "price": 1.005,
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Rounding is half away from zero, in decimals.
        ("2.5 | round", "3"),
        ("-2.5 | round", "-3"),
        ("0.5 | round", "1"),
        ("price | round: 2", "1.01"),
        ("1234 | round: -2", "1200"),
        ("'2.675' | round: 2", "2.68"),
        ("5 | round: 3", "5"),
        ("2.5 | round: nobody", "3"),
        # Numbers: whatever is none is 0, and text counts by what it begins with.
        ("nobody | plus: 1", "1"),
        ("nothing | times: 3", "0"),
        ("no | minus: 1", "-1"),
        ("true | plus: 1", "1"),
        ("mixed | plus: 2", "2"),
        ("'10 apples' | plus: '7,42'", "17"),
        ("'1e3' | plus: 0", "1"),
        ("' 1.5 ' | plus: 1", "2.5"),
        ("0.1 | plus: 0.2", "0.3"),
        ("-7 | divided_by: 2", "-4"),
        ("7 | divided_by: 2.0", "3.5"),
        ("-7 | modulo: 3", "2"),
        ("-7.5 | modulo: 2", "0.5"),
        ("nobody | at_least: 3", "3"),
        ("people | sum: 'age'", "43.5"),
        ("nested | sum", "6"),
        ("mixed | sum", "1"),
        ("nobody | sum", "0"),
        ("1 | plus: other: 2", "1"),
        # Text: nil is nothing, false is a word, data is JSON.
        ("nobody | append: 'x'", "x"),
        ("nothing | append: nobody", ""),
        ("no | append: '!'", "false!"),
        ("mixed | append: ''", '[1, null, true, "a", {"n": 1}]'),
        ("'abc' | replace: nobody, '-'", "-a-b-c-"),
        ("'a\\b' | replace: 'a', '\\\\0'", "\\\\0\\b"),
        ("'hello' | replace_last: 'h', 'J'", "Jello"),
        ("'a,b,,' | split: ',' | json", '["a", "b"]'),
        ("'  a \n b ' | split: ' ' | join: '-'", "a-b"),
        ("nobody | split: ',' | json", "[]"),
        ("'a  b c' | truncatewords: 2", "a b..."),
        ("'a  b' | truncatewords: 2", "a  b"),
        ("'abcdef' | truncate: 5, ''", "abcde"),
        ("nobody | truncate: 5", ""),
        ("'\u00a0x\u00a0' | strip | size", "3"),
        ("' a \n\t b ' | squish", "a b"),
        # HTML, URLs, Base64.
        ("html | strip_html", "Tom &amp; Jerry"),
        ("'a < b' | strip_html", "a < b"),
        ("'&lt;b> & \"c\"' | escape_once", "&lt;b&gt; &amp; &quot;c&quot;"),
        ('"it\'s" | escape', "it&#39;s"),
        ('"<" | h', "&lt;"),
        ("'a%20b+c%C3%A9' | url_decode", "a b cé"),
        ("nobody | url_encode", ""),
        ("'é~ ' | url_encode", "%C3%A9~+"),
        ("'>>>?' | base64_url_safe_encode", "Pj4-Pw=="),
        ("'Pj4-Pw' | base64_url_safe_decode", ">>>?"),
        ("'//8=' | base64_decode", "\ufffd\ufffd"),
        # Lists: anything is one, nil is empty, lists inside are opened.
        ("people | find: 'n', 'Bob' | json", '{"n": "Bob", "age": null}'),
        ("people | find: 'n', 'Eve' | json", "null"),
        ("people | find_index: 'age', 7.5", "2"),
        ("people | has: 'ok'", "true"),
        ("people | has: 'age', nobody", "true"),
        ("people | where: 'ok', true | map: 'n' | join", "Ada"),
        ("people | where: 'age' | map: 'n' | join", "Ada Cid"),
        ("people | reject: 'age' | map: 'n' | join", "Bob"),
        ("people | where: 'ok', 1 | size", "0"),
        ("people | compact: 'age' | size", "2"),
        ("people | sort: 'age' | map: 'n' | join", "Cid Ada Bob"),
        ("2.5 | where: 'n' | json", "null"),
        ("'abc' | where: 'b' | json", '["abc"]'),
        ("no | concat: nested | json", "[false, 1, [2, [3, null]]]"),
        ("nobody | concat: nested | size", "2"),
        ("nested | join: ','", "1,2,3,"),
        ("nested | reverse | json", "[null, 3, 2, 1]"),
        ("mixed | map: 'n' | json", None),
        ("nested | compact | size", "3"),
        ("nobody | first | json", "null"),
        ("nobody | size", "0"),
        ("5 | size", "8"),
        ("mixed | sort_natural | json", '[1, "a", true, {"n": 1}, null]'),
        ("(1..3) | concat: nested | size", "5"),
        ("(1..3) | json", "[1, 2, 3]"),
        ("'abc' | slice: -2, 9", "bc"),
        ("nested | slice: 9, 1 | json", "[]"),
        # The default stands in for nil, false and what is empty.
        ("nobody | default: nothing | default: 'x'", "x"),
        ("no | default: 'x', allow_false: true", "false"),
        ("'' | default: 'x'", "x"),
        ("0 | default: 'x'", "0"),
        ("empty | default: 'x'", "x"),
        # Dates: what is none comes out as it went in.
        ("nobody | date: '%Y'", ""),
        ("no | date: '%Y'", "false"),
        ("'soon' | date: '%Y'", "soon"),
        ("'2024-02-03' | date: nobody", "2024-02-03"),
        ("'2024-02-03' | date: '%e. %B %Y'", " 3. February 2024"),
        ("'Sat, 03 Feb 2024 10:20:30 EST' | date: '%H:%M %z'", "10:20 -0500"),
        ("'1/2/2006' | date: '%-d %b'", "1 Feb"),
        ("0 | date: '%FT%T%:z'", "1970-01-01T00:00:00+00:00"),
        ("'86400' | date: '%s %j'", "86400 002"),
        ("2.5 | date: '%Y'", "2.5"),
        ("'2024-02-03' | date: '%q %'", "%q %"),
    ],
)
def test_a_filter_over_an_odd_value(expression, expected):
    if expected is None:
        with pytest.raises(GiveUp, match="don't have such a property"):
            render_liquid(f"{{{{ {expression} }}}}", INPUTS)
    else:
        assert render_liquid(f"{{{{ {expression} }}}}", INPUTS) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 | divided_by: 0", "a number is divided by 0"),
        ("1 | modulo: nobody", "a number is divided by 0"),
        ("mixed | sort", "values of different types have no order"),
        ("mixed | sum: 'n'", "the items don't have such a property"),
        ("'x' | truncate: 'many'", "needs a whole number"),
        ("'x' | slice: 1.5", "needs a whole number"),
        ("mixed | concat: 'a'", "needs a list"),
        ("'?' | base64_decode", "the text is no Base64"),
        ("'%FF' | url_decode", "the bytes are no text"),
    ],
)
def test_what_has_no_result_in_the_reference_either_is_a_failure_that_says_why(expression, reason):
    with pytest.raises(GiveUp) as raised:
        render_liquid(f"{{{{ {expression} }}}}", INPUTS)
    assert raised.value.code == "template.failed"
    assert raised.value.message.endswith(f"'{expression.split(' | ')[1].split(':')[0]}': {reason}")


def items_of(value: object) -> list[object]:
    """The value's items, as filters count them."""
    if not isinstance(value, list):
        return [] if value is None else [value]
    return [item for inner in value for item in (items_of(inner) if isinstance(inner, list) else [inner])]


def never(_: object) -> bool:
    """The filter has a result for every value."""
    return False


def has_numbers(value: object) -> bool:
    """Whole numbers have bits in the place of named properties."""
    return any(type(item) is int for item in items_of(value))


def has_no_order(value: object) -> bool:
    """The values aren't all texts, all numbers or all equal."""
    kinds = {float if type(item) is int else type(item) for item in items_of(value) if item is not None}
    return len(kinds) > 1 or not kinds <= {float, str}


def is_not_nil(value: object) -> bool:
    """Most texts encode nothing."""
    return value is not None


#: A call of every filter, and for which values it has no result.
CALLS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(FILTERS.keys() - {"json"}, never),
    **{
        f"{name}: 'a'": never
        for name in ("append", "prepend", "remove", "remove_first", "remove_last", "join")
    },
    **{
        f"{name}: 2": never
        for name in ("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most")
    },
    **{
        f"{name}: other": never
        for name in ("plus", "times", "at_least", "round", "append", "split", "default")
    },
    **{f"{name}: other, other": never for name in ("replace", "replace_first", "replace_last")},
    **{
        f"{name}: 'a'": has_numbers for name in ("map", "where", "reject", "has", "find", "find_index", "sum")
    },
    **{f"{name}: 'a', other": has_numbers for name in ("where", "reject", "has", "find", "find_index")},
    **{f"{name}: 'a'": has_numbers for name in ("compact", "uniq", "sort_natural")},
    **{f"date: {form}": never for form in ("'%Y-%m-%d %I %p %U %V %s %L %z'", "other")},
    "concat: list": never,
    "join: other": never,
    "json": never,
    "slice: 0, 2": never,
    "sort": has_no_order,
    "truncate: 3, other": never,
    "truncatewords: 1, other": never,
    "url_decode": is_not_nil,
    "base64_decode": is_not_nil,
    "base64_url_safe_decode": is_not_nil,
}
for needs_arguments in (
    *(
        "append",
        "prepend",
        "remove",
        "remove_first",
        "remove_last",
        "replace",
        "replace_first",
        "replace_last",
    ),
    *("split", "plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most", "concat", "date"),
    *("map", "where", "reject", "has", "find", "find_index", "slice"),
):
    del CALLS[needs_arguments]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["2024-02-03", "10:20", "Feb 3", "1e400", "-1.5", "<b", "&amp;", "%C3%A9", "YQ==", "a"])
    | st.datetimes().map(str)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=8,
)


def problem_of(call: str, inputs: dict[str, object]) -> str | None:
    """The code of the error that a call ends with."""
    try:
        render_liquid(f"{{{{ value | {call} }}}}", inputs)
    except GiveUp as error:
        return error.code
    return None


@pytest.mark.parametrize("call", sorted(CALLS))
@settings(max_examples=20, deadline=None)
@given(value=VALUES, other=VALUES)
@example(value=None, other=None)
@example(value=False, other=True)
@example(value=[1, None, True, "a", {"a": 1}, [2.5, []]], other=[[]])
def test_a_filter_fails_over_no_value_that_has_a_result(call, value, other):
    expected = {None, "template.limit_exceeded"} | ({"template.failed"} if CALLS[call](value) else set())
    assert problem_of(call, {"value": value, "other": other, "list": [1]}) in expected


@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_filter_takes_a_missing_value_for_nil(call):
    given_nil = render_liquid(f"{{{{ value | {call} }}}}", {"value": None, "other": None, "list": [1]})
    assert render_liquid(f"{{{{ value | {call} }}}}", {"list": [1]}) == given_nil


def test_every_filter_is_called():
    assert {call.split(":")[0] for call in CALLS} == set(FILTERS)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        *(
            (f"{value} == blank", True)
            for value in ("nil", "nobody", "false", "''", "' \n'", "none", "nowhere")
        ),
        *((f"{value} == blank", False) for value in ("0", "true", "'x'", "mixed", "(1..2)")),
        *((f"{value} == empty", True) for value in ("''", "none", "nowhere")),
        *((f"{value} == empty", False) for value in ("nil", "nobody", "false", "' '", "0", "mixed")),
        ("blank == false", True),
        ("nobody != blank", False),
        ("true == 1", False),
        ("ones == trues", False),
        ("1 == 1.0", True),
        ("'1' == 1", False),
        ("nobody < 1", False),
        ("true < 1", False),
        ("mixed < 1", False),
        ("mixed <= mixed", False),
        ("nobody contains 'a'", False),
        ("5 contains 5", False),
        ("'a1' contains 1", True),
        ("mixed contains nobody", False),
        ("trues contains 1", False),
        ("mixed contains 1.0", True),
        ("nowhere contains mixed", False),
        ("(1..3) contains 2", True),
    ],
)
def test_a_comparison_of_odd_values(condition, holds):
    inputs = {"none": [], "nowhere": {}, "mixed": [1, None, "a"], "ones": [1], "trues": [True]}
    body = f"{{% if {condition} %}}yes{{% else %}}no{{% endif %}}"
    assert render_liquid(body, inputs) == ("yes" if holds else "no")


@pytest.mark.parametrize("condition", ["'10' > 5", "5 >= '10'", "'a' < 1", "1 <= 'a'"])
def test_a_text_and_a_number_have_no_order(condition):
    with pytest.raises(GiveUp, match="a text and a number have no order"):
        render_liquid(f"{{% if {condition} %}}{{% endif %}}", {})


def test_case_compares_like_if():
    assert (
        render_liquid("{% case x %}{% when blank %}blank{% else %}{{ x }}{% endcase %}", {"x": False})
        == "blank"
    )
