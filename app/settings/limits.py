"""What providers allow, as all processes together keep to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from app.settings.fields import env

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ProviderLimit(BaseModel):
    """What one key may send to a provider, or to one of its models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrency: PositiveInt | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> ProviderLimit:
        if not (self.requests_per_minute or self.tokens_per_minute or self.concurrency):
            raise ValueError("needs requests_per_minute, tokens_per_minute or concurrency")
        return self


class Limits(BaseModel):
    """What providers allow, as all processes together keep to it."""

    provider_limits: dict[str, ProviderLimit] = env(
        "WORKER_PROVIDER_LIMITS",
        default={},
        description='What each key may send, as JSON: {"openai": {"requests_per_minute": 500, '
        '"tokens_per_minute": 200000, "concurrency": 50}, "openai/gpt-4.1": {"concurrency": 5}}.',
    )
    learn_provider_limits: bool = env(
        "WORKER_LEARN_PROVIDER_LIMITS",
        default=False,
        description="Keep to the limits per minute that providers name in their answers.",
    )
    provider_longest_pause_seconds: PositiveFloat = env(
        "WORKER_PROVIDER_LONGEST_PAUSE_SECONDS",
        default=600.0,
        description="Longest Retry-After that is honoured for all jobs of a key.",
    )
    key_rejection_seconds: PositiveFloat = env(
        "WORKER_KEY_REJECTION_SECONDS",
        default=600.0,
        description="A person's API key that its provider refused is not tried again for this long.",
    )
    breaker_window_seconds: PositiveFloat = env(
        "WORKER_BREAKER_WINDOW_SECONDS",
        default=60.0,
        description="Time over which a breaker counts a model's calls.",
    )
    breaker_min_calls: PositiveInt = env(
        "WORKER_BREAKER_MIN_CALLS",
        default=10,
        description="A breaker opens after no fewer calls than this.",
    )
    breaker_failure_rate: Annotated[float, Field(gt=0, le=1)] = env(
        "WORKER_BREAKER_FAILURE_RATE",
        default=0.5,
        description="Share of calls that must fail by the provider's fault to open a breaker.",
    )
    breaker_open_seconds: PositiveFloat = env(
        "WORKER_BREAKER_OPEN_SECONDS",
        default=15.0,
        description="First time for which a model that fails is left alone; each in a row is twice as long.",
    )
