"""What runs cost their owners."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from app.settings.fields import env


def _unset_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Rate = Annotated[
    Annotated[Decimal, Field(gt=0, le=100_000, allow_inf_nan=False)] | None,
    BeforeValidator(_unset_if_blank),
]


class Costs(BaseModel):
    """What runs cost their owners."""

    credits_per_usd: Rate = env(
        "WORKER_CREDITS_PER_USD",
        default=None,
        description="Credits that a dollar of AI calls is, where the platform pays; all is free when blank.",
    )
