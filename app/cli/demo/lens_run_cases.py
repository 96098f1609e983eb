"""The lens runs of the demo: every provider, every way to a prompt and a key, every way to fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.local.seeds import KEYS, seeded_id


@dataclass(frozen=True)
class Case:
    """Equal lens runs and the end they must come to; cases of one label are shown as one.

    `asked` is the prompt that the provider must see, for a run that succeeds; `error_code` the end of one
    that fails. `provider` is named for a model that the seeds lack. `mishaps` are scenarios of the provider
    server that each run's first calls meet.
    """

    label: str
    model: str
    inputs: Mapping[str, str]
    asked: str | None = None
    error_code: str | None = None
    count: int = 2
    lens: str | None = None
    byok_key: str | None = None
    provider: str | None = None
    mishaps: tuple[str, ...] = ()
    run_ids: list[UUID] = field(default_factory=list)

    @property
    def funding_source(self) -> str:
        """Who pays: the requester with their own key, or the platform."""
        return "user_byok_cloud" if self.byok_key else "platform_credit"

    @property
    def byok_key_id(self) -> UUID | None:
        """The id of the requester's own key."""
        return seeded_id("key", self.byok_key) if self.byok_key else None

    @property
    def secret(self) -> str | None:
        """The secret that the provider must be called with, where it is the requester's own."""
        return KEYS[self.byok_key].secret if self.byok_key else None


def lens_run_cases() -> list[Case]:
    """Every case, in the order to show them."""
    return [*_mishaps(), *_providers(), *_prompts(), *_failures()]


def _mishaps() -> Iterable[Case]:
    # First of all, because it waits as long as the provider asks for.
    yield Case(
        "429, then an answer",
        "demo-busy",
        {"prompt": "Now?"},
        asked="Now?",
        count=1,
        provider="anthropic",
        mishaps=("429",),
    )
    yield Case(
        "503, 500, then an answer",
        "demo-flaky",
        {"prompt": "Third time lucky?"},
        asked="Third time lucky?",
        count=1,
        provider="openai",
        mishaps=("503", "500"),
    )


def _providers() -> Iterable[Case]:
    models = {
        "openai": "gpt-5.4-mini",
        "anthropic": "claude-sonnet-4-6",
        "google": "gemini-2.5-flash",
        "mistral": "mistral-large-3",
        "deepseek": "deepseek-v4-flash",
        "ollama": "llama3.2:3b-instruct",
    }
    for provider, model in models.items():
        prompt = f"What is {provider} good at?"
        yield Case(
            f"{len(models)} providers, 5 prompts each", model, {"prompt": prompt}, asked=prompt, count=5
        )


def _prompts() -> Iterable[Case]:
    prompt = {"prompt": "Who wrote the first program?"}
    yield Case("a system message", "gpt-5.4", {**prompt, "system": "Be brief."}, asked=prompt["prompt"])
    yield Case(
        "a template with [[tokens]]",
        "claude-haiku-4-5",
        {"name": "Ada {{ name }}", "language": "Turkish", "tone": "warm"},
        asked="Greet Ada {{ name }} in Turkish. Tone: warm.",
        lens="greeting",
    )
    yield Case(
        "a template with Liquid",
        "gemini-2.5-pro",
        {"text": "  the moon landing ", "tone": "Formal"},
        asked="Write in a formal tone. Summarise: the moon landing",
        lens="summary",
    )
    yield Case(
        "the requester's own API key",
        "gpt-4o",
        {"prompt": "Whose key?"},
        asked="Whose key?",
        byok_key="active",
    )


def _failures() -> Iterable[Case]:
    hello = {"prompt": "Hello?"}
    yield Case(
        "an input is missing",
        "gpt-5.4",
        {"name": "Ada"},
        error_code="template.missing_input",
        lens="greeting",
    )
    yield Case("a broken template", "gpt-5.4", {"name": "Ada"}, error_code="template.syntax", lens="broken")
    yield Case("an API key that was revoked", "gpt-4o", hello, error_code="key.revoked", byok_key="revoked")
    yield Case(
        "content the provider refuses",
        "demo+policy",
        hello,
        error_code="provider.content_refused",
        provider="openai",
    )
    yield Case(
        "a model nobody has", "demo+404", hello, error_code="provider.model_not_found", provider="mistral"
    )
