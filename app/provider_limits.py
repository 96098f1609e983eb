"""Limits of providers as the settings name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]


class ProviderLimit(BaseModel):
    """What one key may send to a provider, or to one of its models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    concurrency: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> ProviderLimit:
        if not (self.requests_per_minute or self.tokens_per_minute or self.concurrency):
            raise ValueError("needs requests_per_minute, tokens_per_minute or concurrency")
        return self
