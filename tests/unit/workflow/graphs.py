"""Random workflows, and an executor of the simplest kind that runs them in any order of events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from app.workflow import (
    Graph,
    NodeFailure,
    NodeResult,
    NodeStatus,
    Output,
    Progress,
    Standing,
    Work,
    load_graph,
    prepare,
    stored_output,
)
from app.workflow.values import JsonObject, compact_json

ROOT: JsonObject = {"topic": "cats", "l0": "root"}
TYPES = {"echo"}

#: What a node does; the executor below turns it into an outcome.
DEEDS = ["answer"] * 6 + ["set", "fail", "time out", "block", "invalidate"]
ENDS = {
    "fail": NodeStatus.FAILED,
    "time out": NodeStatus.TIMED_OUT,
    "block": NodeStatus.BLOCKED,
    "invalidate": NodeStatus.INVALIDATED,
}

Rows = list[dict[str, Any]]


def node(node_id: str, lens: str | None = None, **config: Any) -> dict[str, Any]:
    return {"id": node_id, "lens_id": lens, "config": {"nodeType": "echo", **config}}


def edge(source: str, target: str, label: str = "context", **columns: Any) -> dict[str, Any]:
    names = {"source_node_id": source, "target_node_id": target, "target_param_label": label}
    return {"id": f"{source}-{target}-{label}", **names, **columns}


def graph_of(nodes: Rows, edges: Rows) -> Graph:
    return load_graph(nodes, edges, known_types=TYPES)


CONDITIONS: list[Any] = [
    *([None] * 6),
    {"type": "equals", "value": "true"},
    {"type": "present"},
    {"type": "truthy"},
    {"type": "contains", "value": "a"},
    "branch == 'true' || place > 3",
]


@st.composite
def graphs(draw: st.DrawFn, largest: int = 12) -> Graph:
    """Any graph without cycles, its nodes numbered in no particular order."""
    count = draw(st.integers(0, largest))
    names = draw(st.permutations([f"n{i}" for i in range(count)]))
    nodes = [
        node(
            name,
            deed=draw(st.sampled_from(DEEDS)),
            branch=draw(st.sampled_from(["true", "false"])),
            place=place,
            merge=draw(st.sampled_from(["last_write_wins", "concat", "array", "json_object"])),
            onParentFailure=draw(st.sampled_from(["skip", "skip", "propagate", "substitute_default"])),
            param_overrides=draw(overrides(names)),
        )
        for place, name in enumerate(names)
    ]
    pairs = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=2 * count)) if pairs else []
    edges = [
        edge(
            names[a],
            names[b],
            draw(st.sampled_from(["l0", "l1"])),
            condition=draw(st.sampled_from(CONDITIONS)),
            source_output_key=draw(st.sampled_from(["output", "branch"])),
            merge_strategy=draw(st.sampled_from([None, None, "concat"])),
        )
        for a, b in dict.fromkeys(chosen)
    ]
    return graph_of(draw(st.permutations(nodes)), draw(st.permutations(edges)))


def overrides(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    if not names:
        return st.just({})
    reference = st.sampled_from(names).map(lambda name: f"<[[{name}.output]]>")
    return st.dictionaries(st.just("l2"), reference, max_size=1)


def perform(work: Work) -> NodeResult:
    """Do what a node is told to; its output tells apart any two inputs."""
    deed = work.settings["deed"]
    if deed in ENDS:
        return NodeFailure(str(deed), status=ENDS[str(deed)]).result
    digest = hashlib.sha256(compact_json(work.labels).encode()).hexdigest()[:8]
    output = Output(
        text=f"{work.node.id}:{digest}",
        data={"branch": work.settings["branch"], "place": work.settings["place"]},
        variables={"seen": work.node.id, f"by_{work.node.id}": digest} if deed == "set" else {},
    )
    return NodeResult(NodeStatus.COMPLETED, stored_output(output))


@dataclass
class Journal:
    """What happened in a run, in order."""

    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    ended_before: dict[str, set[str]] = field(default_factory=dict)


def run(
    graph: Graph,
    pick: Callable[[list[str]], str],
    stored: Mapping[str, NodeResult] | None = None,
    perform: Callable[[Work], NodeResult] = perform,
    parking: Collection[str] = (),
) -> tuple[Progress, Journal]:
    """Run a graph; `pick` chooses what happens next, `+n` (n starts), `-n` (n ends) or `*n` (n is woken).

    Nodes of `parking` wait once before they end.
    """
    progress, journal = Progress(graph, stored), Journal()
    journal.ended += [*(stored or {}), *progress.opening.settled]
    ready, at_work = set(progress.opening.ready), {}
    to_park = set(parking)
    while progress.standing is not Standing.FINISHED:
        assert (progress.standing is Standing.PARKED) == (not ready and not at_work)
        event = pick(
            [f"+{name}" for name in sorted(ready)]
            + [f"-{name}" for name in sorted(at_work)]
            + [f"*{name}" for name in sorted(progress.parked)]
        )
        name = event[1:]
        if event[0] == "*":
            progress.wake(name)
            ready.add(name)
            continue
        if event[0] == "-" and name in to_park:
            to_park.remove(name)
            del at_work[name]
            progress.park(name)
            journal.begun.remove(name)
            continue
        if event[0] == "+":
            ready.remove(name)
            journal.ended_before[name] = set(journal.ended)
            journal.begun.append(name)
            at_work[name] = progress.begin(name)
            continue
        advance = progress.complete(name, perform(prepare(at_work.pop(name), ROOT)))
        journal.ended += [name, *advance.settled]
        ready = (ready | set(advance.ready)) - set(advance.settled)
    return progress, journal


def first(events: list[str]) -> str:
    return events[0]


def last(events: list[str]) -> str:
    return events[-1]
