"""What the local provider server says that an answer took, in each provider's own fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Used:
    """The tokens of an answer as a meter sorts them, each counted once.

    Of the prompt: fresh, had in the cache, and written to it. Of the answer: thought, and said.
    """

    fresh: int = 0
    cached: int = 0
    written: int = 0
    thought: int = 0
    said: int = 0

    @property
    def prompt(self) -> int:
        """All of the prompt's."""
        return self.fresh + self.cached + self.written

    @property
    def made(self) -> int:
        """All that the model made."""
        return self.thought + self.said


def openai_usage(used: Used) -> dict[str, Any]:
    """The finer counts are parts of the others."""
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.made,
        "total_tokens": used.prompt + used.made,
        "prompt_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.written},
        "completion_tokens_details": {"reasoning_tokens": used.thought},
    }


def deepseek_usage(used: Used) -> dict[str, Any]:
    """What the cache had has a name of its own here."""
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.made,
        "total_tokens": used.prompt + used.made,
        "prompt_cache_hit_tokens": used.cached,
        "prompt_cache_miss_tokens": used.fresh + used.written,
        "completion_tokens_details": {"reasoning_tokens": used.thought},
    }


def anthropic_usage(used: Used) -> dict[str, Any]:
    """The cache's counts come beside the input; thinking is a part of the output."""
    return {
        "input_tokens": used.fresh,
        "output_tokens": used.made,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.written or None,
        "output_tokens_details": {"thinking_tokens": used.thought} if used.thought else None,
    }


def google_usage(used: Used) -> dict[str, Any]:
    """The cached part is one of the prompt's; thoughts come beside the candidates."""
    return {
        "promptTokenCount": used.prompt,
        "candidatesTokenCount": used.said,
        "thoughtsTokenCount": used.thought,
        "cachedContentTokenCount": used.cached,
        "totalTokenCount": used.prompt + used.made,
    }


def ollama_usage(used: Used) -> dict[str, Any]:
    """Two counts, and no more."""
    return {"prompt_eval_count": used.prompt, "eval_count": used.made}
