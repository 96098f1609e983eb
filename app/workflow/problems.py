"""What keeps a workflow from being started, all of it at once and in words for its author."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import GiveUp

#: Most problems that one error message spells out.
MOST_TOLD = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `code` is stable, `message` names nodes but never holds a configured value."""

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
