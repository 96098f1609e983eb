"""Liquid: what templates render to, and what is said about those that don't."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import GiveUp
from app.templates import Limits, Parameter, needs_liquid, render_liquid

TOPIC = Parameter(id="11111111-1111-4111-8111-111111111111", label="topic", required=True)
TONE = Parameter(id="22222222-2222-4222-8222-222222222222", label="tone", required=False)

INPUTS = {
    "name": "Ada",
    "n": 3,
    "half": 0.5,
    "yes": True,
    "nil_value": None,
    "tags": ["b", "a", "b"],
    "user": {"name": "Bob", "roles": ["admin"]},
    "people": [{"n": "x", "ok": True}, {"n": "y"}],
    "mixed": [1, None, True, {"a": 1}],
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Hi {{ name }}!", "Hi Ada!"),
        ("{{ n }} {{ half }} {{ yes }} {{ nil_value }}.", "3 0.5 true ."),
        ("{{ user.name }} {{ user['roles'][0] }} {{ tags.size }}", "Bob admin 3"),
        ("{{ user }} {{ tags }}", '{"name": "Bob", "roles": ["admin"]} ["b", "a", "b"]'),
        ("{% echo mixed %}", '[1, null, true, {"a": 1}]'),
        ("{% if n > 2 and name == 'Ada' %}yes{% else %}no{% endif %}", "yes"),
        ("{% unless yes %}a{% else %}b{% endunless %}", "b"),
        ("{% case n %}{% when 1 %}one{% when 3 %}three{% endcase %}", "three"),
        ("{% for t in tags reversed %}{{ forloop.index }}{{ t }}{% endfor %}", "1b2a3b"),
        ("{% for p in user %}{{ p[0] }} {% endfor %}", "name roles "),
        ("{% for i in (1..3) %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
        (
            "{% for i in tags %}{% cycle user, 'x' %}{% endfor %}",
            '{"name": "Bob", "roles": ["admin"]}x' + '{"name": "Bob", "roles": ["admin"]}',
        ),
        ("{% assign x = name | upcase %}{% capture y %}<{{ x }}>{% endcapture %}{{ y }}", "<ADA>"),
        (
            "{% liquid assign x = 1\n echo x %}{# kept #}{% comment %}{{ gone }}{% endcomment %}",
            "1{# kept #}",
        ),
        ("a {{- name -}} b", "aAdab"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ (1..3) }} {{ empty }}", "1..3 "),
        ("\r\n{{ name }}\r\n", "\r\nAda\r\n"),
    ],
)
def test_the_language(body, expected):
    assert render_liquid(body, INPUTS) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name | upcase | append: '!' | prepend: '<'", "<ADA!"),
        ("'aXbX' | downcase | capitalize | replace: 'x', '--'", "A--b--"),
        ("'aaa' | replace_first: 'a', 'b' | remove_first: 'a' | remove: 'z'", "ba"),
        ("'aaa' | replace_last: 'a', 'b' | remove_last: 'a'", "ab"),
        ("'abc' | replace: '', '-'", "-a-b-c-"),
        ("'  x ' | lstrip | rstrip | strip", "x"),
        ("'one two three' | truncate: 9", "one tw..."),
        ("'one two three' | truncatewords: 2", "one two..."),
        ("'a<b' | escape | url_encode", "a%26lt%3Bb"),
        ("'a b  c' | split: ' ' | join: '-'", "a-b-c"),
        ("'a,b,' | split: ',' | size", "2"),
        ("'abc' | split: '' | reverse | join: ''", "cba"),
        ("',' | split: ','", "[]"),
        ("tags | sort | uniq | join: ', '", "a, b"),
        ("'B,a' | split: ',' | sort_natural | first", "a"),
        ("mixed | compact | size", "3"),
        ("mixed | join: '|'", '1||true|{"a": 1}'),
        ("people | map: 'ok'", "[true, null]"),
        ("people | where: 'ok' | map: 'n' | last", "x"),
        ("people | uniq: 'ok' | size", "2"),
        ("'abcdef' | slice: 1, 3", "bcd"),
        ("tags | slice: 1, 2", '["a", "b"]'),
        ("user | slice: 0, 7", '{"name"'),
        ("n | plus: 4 | times: 2 | minus: 1 | divided_by: 4 | modulo: 2", "1"),
        ("2.567 | round: 1 | at_least: 1 | at_most: 2", "2"),
        ("-1.5 | abs | ceil", "2"),
        ("1.9 | floor", "1"),
        ("yes | append: ''", "true"),
        ("user | append: ''", '{"name": "Bob", "roles": ["admin"]}'),
        ("nil_value | append: nil_value | size", "0"),
        ("name | json", '"Ada"'),
        ("mixed | json", '[1, null, true, {"a": 1}]'),
        ("'2024-02-03' | date: '%d.%m.%y'", "03.02.24"),
        ("nobody | default: 'someone'", "someone"),
        ("yes | default: 'x', allow_false: true", "true"),
    ],
)
def test_the_filters(expression, expected):
    assert render_liquid(f"{{{{ {expression} }}}}", INPUTS) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[[topic]] {{ topic }}", "tea tea"),
        (f"[[:{TOPIC.id}]]{{{{ tone }}}}.", "tea."),
        ("{% if tone %}[[tone]]{% else %}[[topic]]{% endif %}", "tea"),
        ("{% raw %}[[topic]] {{ topic }}{% endraw %}", "tea {{ topic }}"),
        ("{% capture c %}[[topic]]{% endcapture %}{{ c | upcase }}", "TEA"),
        ("[[unknown]] [[extra]] [[ topic ]]{{ extra }}", "[[unknown]] [[extra]] [[ topic ]]x"),
        ("{{ '[[topic]]' }}", "[[topic]]"),
        ("{% comment %}[[topic]]{% endcomment %}[[{{ topic }}]]", "[[tea]]"),
    ],
)
def test_tokens_live_in_the_text_of_a_liquid_template(body, expected):
    assert render_liquid(body, {"topic": "tea", "extra": "x"}, parameters=[TOPIC, TONE]) == expected


SYNTAXES = [
    "<{{ v }}|[[v]]>",
    "<{% raw %}[[v]]{% endraw %}|{% echo v %}>",
    "{% capture c %}<{{ v }}{% endcapture %}{{ c }}|{% for x in list %}{{ x }}{% endfor %}>",
    "{% assign c = v %}<{{ c }}|{{ v | append: '' }}>",
    "<{% if true %}[[v]]{% endif %}|{%- cycle v %}>",
    "<{{ o.v }}|{{ list | join: '' }}>",
]
hostile_values = st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", "{{ v }}", "{% raw %}", "{% endraw %}", "[[v]]", "[[", "]]"])
    | st.text(max_size=3),
    max_size=6,
).map("".join)


@given(value=hostile_values | st.text(), body=st.sampled_from(SYNTAXES))
@example(value="{{ v }}{% raw %}[[v]]\r\n\0 \\1", body=SYNTAXES[0])
def test_a_value_comes_out_as_it_went_in_whichever_way_it_is_inserted(value, body):
    rendered = render_liquid(body, {"v": value, "list": [value], "o": {"v": value}})
    assert rendered == f"<{value}|{value}>"


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        ("{{ name", "line 1, column 1", "never closed"),
        ("a\nb {% if %}x{% endif %}", "line 2, column 6", "missing expression"),
        ("a\n{{ name | }}", "line 2, column 4", "found end of expression"),
        ("{% if a %}\n", "line 2, column 1", "expected tag endif"),
        ("{% include 'x' %}", "line 1, column 4", "'include'"),
        ("{% render 'x' %}", "line 1, column 4", "'render'"),
        ("{% layout 'x' %}", "line 1, column 4", "'layout'"),
        ("x{% doc %}", "line 1, column 2", "'doc' is never closed"),
        ("{% case n %}{% when 1 and 2 %}{% endcase %}", "line 1, column 23", "unexpected token and"),
        ("{% %}", "line 1, column 1", "without a name"),
        ("x{% raw %}", "line 1, column 2", "'raw' is never closed"),
        ("{{ limit }}", "line 1, column 4", "limit"),
        ("{{ name | nope }}", "line 1, column 11", "unknown filter 'nope'"),
        ("{{ name | hmac_sha256: 'x' }}", "line 1", "unknown filter"),
        ("{% for a in tags %}{% endfor %}{% break %}", "line 1", "'break' outside of a loop"),
    ],
)
def test_a_syntax_error_tells_the_place_and_the_problem(body, where, what):
    with pytest.raises(GiveUp) as raised:
        render_liquid(body, INPUTS)
    assert raised.value.code == "template.syntax"
    assert where in raised.value.message
    assert what in raised.value.message


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("\n {{ nobody }}", "line 2, column 5: no value for 'nobody'"),
        ("{{ user.age }}", "'user.age'"),
        ("{% for x in nobody %}{% endfor %}", "'nobody'"),
        ("{% tablerow x in nobody %}{% endtablerow %}", "'nobody'"),
        ("{% assign x = nobody %}{{ x }}", "'nobody'"),
        ("{{ now }}", "'now'"),
        ("{% cycle nobody %}", "'nobody'"),
    ],
)
def test_a_missing_variable_is_named(body, word):
    with pytest.raises(GiveUp) as raised:
        render_liquid(body, INPUTS)
    assert raised.value.code == "template.missing_input"
    assert word in raised.value.message


def test_a_missing_variable_may_be_tested():
    assert render_liquid("{% if nobody %}a{% endif %}{% unless nobody == 'x' %}b{% endunless %}", {}) == "b"


def test_a_required_parameter_is_missed_even_if_the_template_never_prints_it():
    with pytest.raises(GiveUp) as raised:
        render_liquid("{{ tone }}", {"tone": "dry"}, parameters=[TOPIC, TONE])
    assert raised.value.code == "template.missing_input"


SECRET = "s3cret-value"


@pytest.mark.parametrize(
    "body",
    [
        "{{ [v] }}",
        "{{ o[v] }}",
        "{{ o.x[v].y }}",
        "{{ v | round: v | divided_by: 0 }}",
        "{{ list | uniq: 'x' }}",
        "{{ list | map: 'x' }}",
        "{{ list | sort }}",
        "{{ list | sum: 'x' }}",
        "{{ v | base64_decode }}",
        "{% for i in list limit: v %}{% endfor %}",
        "{% if 1 < v %}{% endif %}",
        "{% if v <= 1 %}{% endif %}",
        "{{ v | truncate: v }}",
        "{{ v | slice: v }}",
        "{{ o | concat: v }}",
        "{{ list | where: list }}",
        "{{ list | first: v }}",
    ],
)
def test_a_failure_gives_no_value_away(body):
    with pytest.raises(GiveUp) as raised:
        render_liquid(body, {"v": SECRET, "list": [SECRET, 1], "o": {"x": {SECRET: 1}}})
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_python_is_out_of_reach():
    for path in ("name.__class__", "tags.append", "user.items", "forloop.it", "name['upper']"):
        with pytest.raises(GiveUp, match="missing_input"):
            render_liquid(f"{{% for i in tags %}}{{{{ {path} }}}}{{% endfor %}}", INPUTS)


@pytest.mark.parametrize(
    ("body", "expected"),
    [("plain [[a]] { % }", False), ("{{ a }}", True), ("{% if a %}", True), ("", False), ("}} %}", False)],
)
def test_only_delimiters_need_liquid(body, expected):
    assert needs_liquid(body) is expected


def test_parsed_templates_are_shared_by_threads_and_their_state_is_not():
    bodies = [
        f"{{% assign x = v | append: '{i}' %}}{{% for t in (1..20) %}}{{% cycle 'a', 'b' %}}{{% endfor %}}"
        f"{{{{ x }}}}[[v]]"
        for i in range(100)  # more than the cache holds, so that parsing goes on all the time
    ]
    started = Barrier(16)

    def render_all(thread: int) -> list[str]:
        started.wait(timeout=30)
        limits = Limits(seconds=60)  # so many threads are slow
        return [render_liquid(body, {"v": f"<{thread}>"}, limits=limits) for body in bodies]

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(render_all, range(16)))
    for thread, rendered in enumerate(results):
        assert rendered == [f"{'ab' * 10}<{thread}>{i}<{thread}>" for i in range(100)]
