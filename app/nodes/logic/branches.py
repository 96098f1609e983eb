"""Where a workflow parts and comes together: decisions and merges."""

from __future__ import annotations

from app.nodes.logic.branching import Comparison, Switch, take_branch, take_case
from app.nodes.logic.merging import Merge, merge_branches
from app.nodes.registry import node_type
from app.nodes.task import Task
from app.workflow import Output


@node_type("if_condition", config=Comparison, gives=("branch", "matched", "nodeId"))
def decide(task: Task[Comparison]) -> Output:
    """Decide which of two ways to go."""
    return Output(artifact_kind="json", data=take_branch(task.config, task.source, task.node.id))


@node_type("switch", config=Switch, gives=("matchedBranch", "matchedIndex"))
def choose(task: Task[Switch]) -> Output:
    """Choose one of many ways to go."""
    return Output(artifact_kind="json", data=take_case(task.config, task.source))


@node_type("merge", config=Merge, gives=("items", "merged", "totalCount"))
def merge(task: Task[Merge]) -> Output:
    """Make one output of what all parents gave."""
    return merge_branches(task.config, task.work.parents)
