"""How deep every node lies in the graph, and which nodes lie on cycles."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping


def levels_of(parents: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """The longest way from a root to each node, in edges; nodes behind a cycle are left out."""
    children: dict[str, list[str]] = {node: [] for node in parents}
    open_parents: Counter[str] = Counter()
    for node, above in parents.items():
        for parent in above:
            children[parent].append(node)
            open_parents[node] += 1
    levels = {node: 0 for node in parents if not open_parents[node]}
    queue = deque(levels)
    reached: Counter[str] = Counter()
    while queue:
        node = queue.popleft()
        for child in children[node]:
            reached[child] = max(reached[child], levels[node] + 1)
            open_parents[child] -= 1
            if not open_parents[child]:
                levels[child] = reached[child]
                queue.append(child)
    return levels


def nodes_on_cycles(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes that lie on a cycle or between two, in the order given."""
    levels = levels_of(parents)
    looped = {
        node: [parent for parent in above if parent not in levels]
        for node, above in parents.items()
        if node not in levels
    }
    children: dict[str, list[str]] = {node: [] for node in looped}
    for node, above in looped.items():
        for parent in above:
            children[parent].append(node)
    downstream = levels_of(children)  # what no cycle lies behind, seen from the leaves
    return [node for node in looped if node not in downstream]
