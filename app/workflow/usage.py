"""What a node took of models, as its row and its output tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.workflow.values import JsonObject


@dataclass(frozen=True, slots=True)
class Usage:
    """All calls of one node together; provider and model are the last call's."""

    provider: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    latency_ms: int = 0
    cost_credits: int = 0
    calls: int = 1

    def __add__(self, later: Usage) -> Usage:
        return replace(
            later,
            tokens_in=self.tokens_in + later.tokens_in,
            tokens_out=self.tokens_out + later.tokens_out,
            latency_ms=self.latency_ms + later.latency_ms,
            cost_credits=self.cost_credits + later.cost_credits,
            calls=self.calls + later.calls,
        )

    @property
    def route(self) -> JsonObject:
        """The row's `provider_route`."""
        return {"providerId": self.provider, "modelKey": self.model}

    @property
    def metadata(self) -> JsonObject:
        """What readers look for in an output."""
        return {
            "modelId": self.model,
            "inputTokens": self.tokens_in,
            "outputTokens": self.tokens_out,
            "durationMs": self.latency_ms,
        }
