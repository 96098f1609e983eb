"""What an author should know of a workflow before it starts, and what keeps it from being started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import GiveUp

#: Most problems that one error message spells out.
MOST_TOLD = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `code` is stable, `message` names nodes but never holds a configured value.

    `node_ids` are the nodes that it is about.
    """

    code: str
    message: str
    node_ids: tuple[str, ...] = ()


class InvalidWorkflow(GiveUp):
    """The graph can't be run; `problems` holds everything that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        told = "; ".join(problem.message for problem in problems[:MOST_TOLD])
        more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        super().__init__("workflow.invalid", f"the workflow can't be run: {told}{more}")
        self.problems = tuple(problems)

    @property
    def reasons(self) -> dict[str, str]:
        """What is wrong with each node, by its id, as its row says it."""
        told: dict[str, list[str]] = {}
        for problem in self.problems:
            for node_id in problem.node_ids:
                told.setdefault(node_id, []).append(f"{problem.code}: {problem.message}")
        return {node_id: "; ".join(reasons) for node_id, reasons in told.items()}
