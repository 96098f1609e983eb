"""Gather what a node works on: the values of its labels, its settings, and its parents' outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from pydantic import JsonValue

from app.errors import GiveUp
from app.texts.json_text import DEEPEST_LEVELS, is_shallow
from app.workflow.config import FIELD_PREFIX
from app.workflow.gates import delivers
from app.workflow.graph import Edge, Node, NodeId
from app.workflow.progress import Start
from app.workflow.references import fill, fill_text
from app.workflow.resolver import value_at
from app.workflow.results import NodeFailure, NodeResult
from app.workflow.rows import LENS
from app.workflow.scopes import values_of
from app.workflow.values import JsonObject, json_length

#: Most UTF-16 units the JSON of a node's labels may have.
LONGEST_INPUTS = 524_288
#: Names that only the engine gives; a caller's inputs of such names are dropped.
RESERVED_PREFIX = "__"


@dataclass(frozen=True)
class Work:
    """Everything a node's runner may know.

    `labels` are the resolved inputs; `bound` names those that edges or overrides feed. In `settings` all
    references are filled in. `parents` are the completed direct parents in edge order, so the first of them
    is "the upstream"; `outputs` are those of every completed node this one waited for, by id. `failures` are
    what its parents failed of, or nodes before them because of which they were skipped, the nearest first.
    """

    node: Node
    labels: JsonObject
    bound: frozenset[str]
    settings: JsonObject
    parents: Sequence[tuple[NodeId, JsonObject]]
    outputs: Mapping[NodeId, JsonObject]
    failures: Mapping[NodeId, NodeResult] = field(default_factory=dict)


def clean_root_inputs(raw: Mapping[str, JsonValue]) -> JsonObject:
    """A run's own inputs without reserved names; raises `GiveUp` for what is nested too deeply."""
    if not is_shallow(dict(raw)):
        raise GiveUp("workflow.inputs", f"the run's inputs are nested more than {DEEPEST_LEVELS} levels deep")
    return {name: value for name, value in raw.items() if not name.startswith(RESERVED_PREFIX)}


def prepare(start: Start, root_inputs: JsonObject) -> Work:
    """Gather a starting node's work; raises `NodeFailure` `context_too_large`.

    Labels take their value from, weakest first: the root inputs, variables that earlier nodes set, the edges
    into the node, its own overrides. A label whose edges deliver nothing keeps what it had, or is empty.
    """
    outputs = {other: result.output for other, result in start.upstream.items() if result.is_completed}
    edges = start.graph.edges_into.get(start.node.id, ())
    labels = {**root_inputs, **values_of(start.scope)}
    delivered = _deliver(start, edges)
    overridden = _override(start.node, outputs)
    for label in (edge.target_label for edge in edges):
        labels.setdefault(label, "")
    labels |= delivered | overridden
    if json_length(labels) > LONGEST_INPUTS:
        raise NodeFailure("context_too_large")
    return Work(
        node=start.node,
        labels=labels,
        bound=frozenset({edge.target_label for edge in edges} | overridden.keys()),
        settings={key: fill(value, outputs) for key, value in start.node.config.settings.items()},
        parents=[(p, outputs[p]) for p in start.graph.parents[start.node.id] if p in outputs],
        outputs=outputs,
        failures=start.failures,
    )


def _deliver(start: Start, edges: Sequence[Edge]) -> JsonObject:
    """The merged value of every label to which at least one edge delivers."""
    delivering = [edge for edge in edges if delivers(edge, start.upstream[edge.source])]
    by_label = sorted(delivering, key=lambda edge: edge.target_label)
    return {
        label: _merge(start, list(group))
        for label, group in groupby(by_label, lambda edge: edge.target_label)
    }


def _merge(start: Start, edges: Sequence[Edge]) -> JsonValue:
    named = (edge.merge for edge in edges if edge.merge is not None)
    strategy = next(named, start.node.config.merge)
    return strategy.merge(
        [(edge.source, value_at(start.upstream[edge.source].output, edge.output_key)) for edge in edges]
    )


def _override(node: Node, outputs: Mapping[NodeId, JsonObject]) -> JsonObject:
    """A lens's form fields count among its labels; any other node's are its settings, and may be secrets."""
    return {
        key.removeprefix(FIELD_PREFIX): fill_text(value, outputs) if isinstance(value, str) else value
        for key, value in node.config.param_overrides.items()
        if node.type == LENS or not key.startswith(FIELD_PREFIX)
    }
