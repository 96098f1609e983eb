"""What a run may spend, and what its nodes have cost so far."""

from __future__ import annotations

from app.engine.tries import Tried
from app.platform.workflows import WorkflowRun
from app.workflow import is_over_budget


class Budget:
    """A run's credits; without a budget it may spend any."""

    def __init__(self, run: WorkflowRun) -> None:
        self._budget_credits = run.budget_credits
        self._spent_credits = run.spent_credits

    def spend(self, tried: Tried) -> None:
        """Count what a node has cost."""
        self._spent_credits += tried.usage.cost_credits if tried.usage else 0

    @property
    def is_spent(self) -> bool:
        """Whether the run has to stop before its next node."""
        return is_over_budget(self._budget_credits, self._spent_credits)
