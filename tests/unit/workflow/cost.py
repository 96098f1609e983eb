"""What the pure engine costs a node: `python -m tests.unit.workflow.cost` prints microseconds as JSON."""

from __future__ import annotations

import json
import time
from collections import deque

from app.workflow import NodeResult, NodeStatus, Output, Progress, prepare, stored_output
from tests.unit.workflow.graphs import ROOT, edge, graph_of, node


def measure_cost(count: int, *, parents: int = 2, rounds: int = 3) -> dict[str, float]:
    """Microseconds a node to load and to run a graph of `count` nodes; the best of some rounds."""
    nodes = [node(f"n{i}") for i in range(count)]
    edges = [
        edge(f"n{i - step}", f"n{i}", f"l{step}")
        for i in range(count)
        for step in range(1, parents + 1)
        if i >= step
    ]
    loads, runs = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        graph = graph_of(nodes, edges)
        loaded = time.perf_counter()
        progress = Progress(graph)
        ready = deque(progress.opening.ready)
        while ready:
            name = ready.popleft()
            work = prepare(progress.begin(name), ROOT)
            echoed = NodeResult(NodeStatus.COMPLETED, stored_output(Output(text=str(work.labels["topic"]))))
            ready += progress.complete(name, echoed).ready
        runs.append(time.perf_counter() - loaded)
        loads.append(loaded - started)
    return {"load": min(loads) / count * 1e6, "run": min(runs) / count * 1e6}


if __name__ == "__main__":
    figures = {count: measure_cost(count) for count in (1000, 5000)}
    print(json.dumps(figures, indent=2))
