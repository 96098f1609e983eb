"""Run a node by its type, on outputs that its parents would have stored, without a run around it."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import strategies as st

from app.nodes import field_kinds, node_types, problems_of
from app.nodes.models import Models
from app.nodes.running import run_node
from app.platform.workflows import WorkflowRun
from app.workflow import (
    NodeResult,
    NodeStatus,
    Output,
    Progress,
    load_graph,
    prepare,
    stored_output,
)

#: What a database can store: no NUL, no halves of UTF-16 pairs.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)


def given(value: Any) -> Output:
    """A parent's output: text as a model gives it, all else as data of its own."""
    if isinstance(value, Output):
        return value
    if isinstance(value, str):
        return Output(text=value)
    data = value if isinstance(value, dict) else {"items": value}
    return Output(artifact_kind="json", data=data)


def try_node(
    node_type: str,
    *parents: Any,
    inputs: dict[str, Any] | None = None,
    named: dict[str, Any] | None = None,
    **settings: Any,
) -> Output:
    """What a node gives whose parents gave these values; `named` are further nodes, by their id.

    Raises `InvalidWorkflow` for bad settings, as the start of a run does, and `NodeFailure`.
    """
    values = {f"p{place}": value for place, value in enumerate(parents)}
    nodes: list[dict[str, Any]] = [
        {"id": name, "ordinal": place, "config": {"nodeType": "noop"}}
        for place, name in enumerate([*values, *(named or {})])
    ]
    nodes.append({"id": "tried", "ordinal": len(nodes), "config": {"nodeType": node_type, **settings}})
    edges = [
        {
            "id": f"e{name}",
            "source_node_id": name,
            "target_node_id": "tried",
            "target_param_label": f"in_{name}",
        }
        for name in [*values, *(named or {})]
    ]
    graph = load_graph(nodes, edges, known_types=node_types(), kinds=field_kinds(), check=problems_of)
    outputs = {name: stored_output(given(value)) for name, value in {**values, **(named or {})}.items()}
    results = {name: NodeResult(NodeStatus.COMPLETED, output) for name, output in outputs.items()}
    progress = Progress(graph, results)
    work = prepare(progress.begin("tried"), inputs or {})
    output = run_node(work, cast(WorkflowRun, None), cast(Any, None), cast(Models, None))
    stored_output(output)
    return output
