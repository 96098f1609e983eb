"""What bounds the calls of owners who have a budget."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class Budgets(BaseModel):
    """What bounds the calls of owners who have a budget."""

    budget_max_output_tokens: PositiveInt = env(
        "WORKER_BUDGET_MAX_OUTPUT_TOKENS",
        default=4_096,
        description="Longest answer, in tokens, where an owner has a budget and the job names no bound.",
    )
    budget_allow_unpriced: bool = env(
        "WORKER_BUDGET_ALLOW_UNPRICED",
        default=False,
        description="Let owners with a budget call models without a price; such calls count nothing.",
    )
