import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GiveUp, RetryLater
from app.providers.outcomes import judge_problem
from app.providers.problem import Problem, read_problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "status", "details", "reason", "retryDelay"]
            ),
            inner,
        )
    ),
)


@given(st.integers(min_value=300, max_value=599), JSON, st.text(max_size=20))
def test_any_error_body_becomes_an_outcome_with_a_short_printable_message(status, content, wait):
    problem = read_problem(status, {"retry-after": wait}, json.dumps(content).encode())
    outcome = judge_problem(problem, "openai")
    assert isinstance(outcome, GiveUp | RetryLater)
    assert len(outcome.message) <= 300
    assert outcome.message.isprintable()
    assert isinstance(outcome, RetryLater) or status < 500


@given(st.binary())
def test_any_bytes_for_a_body_are_read(body):
    assert read_problem(500, {}, body).status == 500


def test_half_characters_do_not_reach_the_message():
    problem = read_problem(400, {}, b'{"error": {"message": "a\\ud800\\u0000b"}}')
    assert problem.message.encode() == b"a? b"


def test_googles_retry_info_is_a_wait():
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    body = json.dumps([{"error": {"code": 429, "message": "slow", "details": [detail]}}]).encode()
    assert read_problem(429, {}, body).retry_after_seconds == 34.5


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (Problem(401, ("invalid_request_error",)), "provider.auth_failed"),
        (Problem(429, ("resource_exhausted",), "You exceeded your current quota"), "provider.rate_limited"),
        (Problem(500, ("insufficient_quota",)), "provider.unavailable"),
        (Problem(503, (), "The model is overloaded. Please try again later."), "provider.overloaded"),
        (Problem(403, (), "See our usage policies"), "provider.permission_denied"),
        (Problem(403, ("model_not_found",)), "provider.model_not_found"),
        (Problem(413, ("request_too_large",)), "provider.context_too_long"),
        (Problem(400, ("invalid_request_error",), "Model Not Exist"), "provider.model_not_found"),
        (Problem(418), "provider.invalid_request"),
    ],
)
def test_known_problems_have_their_codes(problem, code):
    assert judge_problem(problem, "openai").code == code
