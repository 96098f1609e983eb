"""How nodes end: retries, timeouts, stored outputs, contracts, resumed rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GiveUp, PutBack, RetryLater
from app.workflow import (
    Cause,
    InputContract,
    NodeFailure,
    NodeResult,
    NodeStatus,
    Output,
    OutputContract,
    Resumption,
    RetryPolicy,
    check_input,
    check_output,
    data_of,
    read_contract,
    results_that_stand,
    stored_output,
)
from app.workflow.fields import FieldSchema

least_jitter, most_jitter = min, max


@pytest.mark.parametrize(
    ("tries", "least_ms", "most_ms"), [(1, 250, 500), (2, 500, 1000), (3, 1000, 2000), (6, 4000, 8000)]
)
def test_backoff_doubles_up_to_its_ceiling_and_is_cut_by_up_to_half(tries, least_ms, most_ms):
    policy = RetryPolicy(attempts=10)
    assert policy.delay_ms(Cause.TIMEOUT, tries, least_jitter) == least_ms
    assert policy.delay_ms(Cause.TIMEOUT, tries, most_jitter) == most_ms


def test_only_causes_on_the_list_and_only_so_often():
    policy = RetryPolicy(attempts=2, retry_on=frozenset({Cause.RATE_LIMIT}))
    assert policy.delay_ms(Cause.RATE_LIMIT, 1, most_jitter) == 500
    assert policy.delay_ms(Cause.RATE_LIMIT, 2, most_jitter) is None
    assert policy.delay_ms(Cause.PROVIDER_ERROR, 1, most_jitter) is None
    assert RetryPolicy().delay_ms(Cause.TIMEOUT, 1, most_jitter) is None, "one try is the default"


@given(st.integers(1, 20), st.integers(0, 600_000), st.integers(0, 600_000), st.floats(-1, 1e9))
def test_a_time_that_was_asked_for_is_waited_for_within_reason(tries, base, ceiling, asked):
    policy = RetryPolicy(attempts=20, backoff_ms=base, max_backoff_ms=ceiling)
    delay = policy.delay_ms(Cause.RATE_LIMIT, min(tries, 19), least_jitter, after_seconds=asked)
    assert delay is not None
    assert min(max(asked, 0) * 1000, ceiling * 10) - 1 <= delay <= ceiling * 11 + 1


@pytest.mark.parametrize(
    ("error", "status", "cause"),
    [
        (RetryLater("provider.timeout", "slow"), NodeStatus.TIMED_OUT, Cause.TIMEOUT),
        (RetryLater("provider.rate_limited", "429", after_seconds=3), NodeStatus.FAILED, Cause.RATE_LIMIT),
        (RetryLater("provider.overloaded", "503"), NodeStatus.FAILED, Cause.PROVIDER_ERROR),
        (GiveUp("provider.auth_failed", "bad key"), NodeStatus.FAILED, None),
    ],
)
def test_errors_of_a_job_in_the_words_of_a_node(error, status, cause):
    failure = NodeFailure.from_job_error(error)
    assert (failure.result.status, failure.cause) == (status, cause)
    assert failure.result.error == str(error)
    assert failure.after_seconds == getattr(error, "after_seconds", None)


def test_an_ending_of_the_whole_job_is_no_failure_of_a_node():
    with pytest.raises(TypeError):
        NodeFailure.from_job_error(PutBack("worker.shutdown", "stopping"))


def test_a_node_timeout_is_a_timeout_and_not_a_cancellation():
    failure = NodeFailure.timed_out(5000)
    assert failure.result == NodeResult(NodeStatus.TIMED_OUT, None, "timed out after 5000 ms")
    assert RetryPolicy(attempts=2).delay_ms(failure.cause, 1, most_jitter) == 500


TOKENS = {"modelId": "m", "inputTokens": 3, "outputTokens": 4, "durationMs": 5}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            Output(text="hi", metadata=TOKENS),
            {
                "mediaType": "text",
                "output": "hi",
                "text": "hi",
                **TOKENS,
                "kind": "text",
                "artifactKind": "text",
            },
        ),
        (
            Output(
                url="https://i/x.png", mime_type="image/png", media_type="image", metadata={"durationMs": 5}
            ),
            {
                **{"mediaType": "image", "output": "https://i/x.png", "text": "https://i/x.png"},
                **{"url": "https://i/x.png", "mimeType": "image/png", "durationMs": 5},
                **{"kind": "image", "artifactKind": "image"},
            },
        ),
        (
            Output(artifact_kind="json", data={"topic": "cats"}, metadata={"durationMs": 0}),
            {
                **{"mediaType": "text", "output": "", "text": "", "durationMs": 0},
                **{"kind": "text", "artifactKind": "json", "topic": "cats"},
            },
        ),
        (
            Output(text="x", url="https://i/x.mp3", media_type="audio", kind="song", artifact_kind="audio"),
            {
                **{
                    "mediaType": "audio",
                    "output": "x",
                    "text": "x",
                    "url": "https://i/x.mp3",
                    "mimeType": None,
                },
                **{"kind": "song", "artifactKind": "audio"},
            },
        ),
    ],
)
def test_stored_outputs_have_the_keys_that_readers_know_in_their_order(output, expected):
    stored = stored_output(output)
    assert stored == expected
    assert list(stored) == list(expected)


def test_what_a_database_cannot_store_is_taken_out():
    stored = stored_output(Output(text="a\0b\ud800", data={"k\0": ["\0", float("inf"), 1]}))
    assert (stored["output"], stored["k"]) == ("ab", ["", None, 1])


@pytest.mark.parametrize(("text", "error"), [("x" * 5_000_000, "output_too_large")])
def test_outputs_have_a_largest_size(text, error):
    with pytest.raises(NodeFailure, match=error):
        stored_output(Output(text=text))


def test_outputs_have_a_deepest_nesting():
    deep: list = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(NodeFailure, match="output_too_deep"):
        stored_output(Output(data={"deep": deep}))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Output(text="plain"), None),
        (Output(text="42"), None),
        (Output(text='{"a": 1}'), {"a": 1}),
        (Output(text="Here:\n```json\n[1, 2]\n```\nDone."), [1, 2]),
        (Output(text="```\nnot json\n```"), None),
        (Output(text="```" + "\n" * 200_000), None),
        (Output(data={"branch": "true"}), {"branch": "true"}),
        (Output(text='{"a": 1}', data={"b": 2}), {"a": 1}),
        (Output(text="x", metadata=TOKENS, variables={"v": 1}), None),
    ],
)
def test_structured_data_of_an_output(output, expected):
    assert data_of(stored_output(output)) == expected


@pytest.mark.parametrize(
    ("schema", "value", "reasons"),
    [
        ({"type": "string", "required": True}, None, ["missing_required"]),
        ({"type": "string", "required": True}, "", ["missing_required"]),
        ({"type": "string"}, "", []),
        ({"type": "string", "minLength": 3}, "ab", ["too_short"]),
        ({"type": "string", "maxLength": 3}, "abcd", ["too_long"]),
        ({"type": "string", "pattern": "^a"}, "ba", ["pattern_mismatch"]),
        ({"type": "string", "pattern": "("}, "a", ["pattern_mismatch"]),
        ({"type": "string", "minLength": 3, "pattern": "^a"}, "b", ["too_short", "pattern_mismatch"]),
        ({"type": "string"}, 5, ["type_mismatch"]),
        ({"type": "string", "minLength": 9, "enum": ["x"]}, 5, ["type_mismatch"]),
        ({"type": "number", "min": 1, "max": 2}, 1.5, []),
        ({"type": "number", "min": 1}, 0, ["below_min"]),
        ({"type": "integer", "max": 2}, 3, ["above_max"]),
        ({"type": "number"}, True, ["type_mismatch"]),
        ({"type": "number"}, "5", ["type_mismatch"]),
        ({"type": "integer"}, 1.5, ["type_mismatch"]),
        ({"type": "integer"}, 2.0, []),
        ({"type": "boolean"}, False, []),
        ({"type": "boolean"}, "true", ["type_mismatch"]),
        ({"type": "url"}, "https://x.org/a?b", []),
        ({"type": "url"}, "not a url", ["pattern_mismatch"]),
        ({"type": "url"}, "http://", ["pattern_mismatch"]),
        ({"type": "json"}, {"a": 1}, []),
        ({"type": "json"}, '{"a": 1}', []),
        ({"type": "json"}, "{a}", ["type_mismatch"]),
        ({"type": "array", "itemType": "string"}, ["a"], []),
        ({"type": "array", "itemType": "string"}, ["a", 1], ["type_mismatch"]),
        ({"type": "array"}, "a", ["type_mismatch"]),
        ({"enum": ["1", "two"]}, 1, []),
        ({"enum": ["1", "two"]}, "three", ["enum_mismatch"]),
        ({}, {"anything": [1]}, []),
    ],
)
def test_fields_of_a_contract(schema, value, reasons):
    problems = FieldSchema.model_validate(schema).problems("label", value)
    assert [problem["reason"] for problem in problems] == reasons
    assert all(problem["field"] == "label" for problem in problems)


def violations(raise_it):
    with pytest.raises(NodeFailure) as raised:
        raise_it()
    assert raised.value.cause is None, "never retried"
    errors = raised.value.output_data["contractErrors"]
    return raised.value, [(error["field"], error["reason"]) for error in errors]


def test_an_input_contract_tells_everything_that_is_wrong():
    raw = {"kind": "x", "fields": {"a": {"required": True}, "n": {"type": "number"}}}
    raw |= {"requireAnyOf": [["u", "v"], ["n"]], "strict": True}
    contract = read_contract(InputContract, raw)
    failure, found = violations(lambda: check_input(contract, {"n": "x", "w": 1, "root": 2}, {"w"}))
    assert failure.result.status is NodeStatus.FAILED
    assert failure.error == "input_contract_violation"
    assert found == [
        ("a", "missing_required"),
        ("n", "type_mismatch"),
        ("u|v", "missing_required"),
        ("w", "unknown_field"),
    ]
    check_input(contract, {"a": 1, "n": 2, "v": "x", "root": 2}, {"a"})
    assert contract.optional_labels == {"n"}


def test_an_empty_answer_is_invalidated_with_or_without_a_contract():
    stored = stored_output(Output(text=""))
    failure, found = violations(lambda: check_output(None, stored, needs_output=True))
    assert failure.result.status is NodeStatus.INVALIDATED
    assert failure.error == "output_contract_violation"
    assert failure.output_data["envelope"] == stored
    assert found == [("output", "invalid_envelope")]
    check_output(None, stored, needs_output=False)


def test_an_output_contract_looks_into_the_structured_answer():
    raw = {
        "kind": "review",
        "artifactKind": "json",
        "schema": {"score": {"type": "number", "required": True}},
    }
    contract = read_contract(OutputContract, raw)
    check_output(contract, stored_output(Output(text='{"score": 3}')), needs_output=True)
    _, found = violations(
        lambda: check_output(contract, stored_output(Output(text="three")), needs_output=True)
    )
    assert found == [("score", "missing_required")]


@pytest.mark.parametrize("raw", ["text", {}, {"kind": "x", "fields": {"a": {"type": "sk-secret"}}}])
def test_a_contract_that_cannot_be_read_is_an_error_without_its_values(raw):
    with pytest.raises(GiveUp) as raised:
        read_contract(InputContract, raw)
    assert raised.value.code == "workflow.contract"
    assert "sk-secret" not in str(raised.value)
    assert read_contract(InputContract, None) is None


@pytest.mark.parametrize(
    ("status", "error", "after_a_crash", "after_a_retry"),
    [
        ("completed", None, True, True),
        ("failed", "boom", True, False),
        ("failed", "upstream_failure", False, False),
        ("timed_out", "slow", True, False),
        ("blocked", "placeholder_unbound", True, False),
        ("invalidated", "output_contract_violation", True, False),
        ("cancelled", None, True, False),
        ("skipped", None, False, False),
        ("running", None, False, False),
        ("streaming", None, False, False),
        ("retrying", None, False, False),
        ("queued", None, False, False),
        ("awaiting_dependency", None, False, False),
        ("pending", None, False, False),
    ],
)
def test_which_stored_results_stand(status, error, after_a_crash, after_a_retry):
    row = {"node_id": "a", "status": status, "output_data": {"output": "x"}, "error_message": error}
    assert ("a" in results_that_stand([row], Resumption.RECOVERY)) is after_a_crash
    assert ("a" in results_that_stand([row], Resumption.RETRY)) is after_a_retry


def test_an_old_error_of_a_completed_row_is_forgotten():
    row = {"node_id": "a", "status": "completed", "output_data": None, "error_message": "earlier"}
    assert results_that_stand([row], Resumption.RECOVERY) == {"a": NodeResult(NodeStatus.COMPLETED)}


def test_a_row_that_cannot_be_read_is_an_error():
    with pytest.raises(GiveUp, match=r"workflow\.results: .*status"):
        results_that_stand([{"node_id": "a", "status": "vanished"}], Resumption.RECOVERY)
