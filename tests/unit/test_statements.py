"""What the worker's own statements want of the database, and what they must not want."""

from app.statements import (
    function_calls,
    issued_statements,
    own_names,
    own_touches,
    python_calls,
    python_touches,
)


def test_python_touches_no_table_of_the_platform() -> None:
    """A worker's role has no right on them: such a statement belongs into a function of our schema."""
    assert python_touches() == ()


def test_what_python_calls_and_touches_is_found() -> None:
    assert "fn_worker_decrypt_api_key" in {call.name for call in python_calls()}
    assert {"open_claim", "finish_claim", "kind_status"} <= own_names()
    assert {"restore_triggers", "record_triggers"}.isdisjoint(own_names())
    assert ("worker.node_effects", "UPDATE") in own_touches()
    assert ("worker.kinds", "UPDATE") not in own_touches()


def test_a_comma_in_a_text_parts_no_arguments() -> None:
    calls = {
        (call.positional, call.named) for call in function_calls() if call.name == "worker.fn_ended_attempt"
    }
    assert calls == {(4, ())}


def test_whole_statements_of_python_are_found_and_parts_of_others_are_not() -> None:
    issued = issued_statements()
    assert len(issued) > 100
    by_path: dict[str, list[str]] = {}
    for statement in issued:
        by_path.setdefault(statement.path, []).append(statement.sql)
    assert any("p_media_ids => '{}'" in sql for sql in by_path["app/platform/lens_runs.py"])
    assert not any("{}" in sql for sql in by_path["app/platform/queries.py"])
    assert not any(path.startswith(("app/cli/", "app/local/")) for path in by_path)
