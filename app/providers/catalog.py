"""Which provider serves a model, and what the provider calls it.

`models.csv` is the platform's registry: the key its database uses, the provider, the name on the wire and
the kind of output. The database is the authority on a model's provider; the registry knows wire names.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from app.errors import GiveUp
from app.providers.base import Model
from app.settings import settings

TEXT_PROVIDERS = frozenset(
    {"openai", "anthropic", "google", "google_vertex", "mistral", "deepseek", "ollama", "echo"}
)

#: Providers of media only, with what their unregistered models make where nobody says.
MEDIA_PROVIDERS = {
    "fal": "image",
    "stability": "image",
    "elevenlabs": "audio",
    "kling": "video",
    "suno": "music",
}

MEDIA_KINDS = frozenset({"image", "audio", "video", "music"})

#: Other names of providers that the platform has in use.
_ALIASES = {"fal-ai": "fal", "gemini": "google", "veo": "google", "lyria": "google", "sora": "openai"}


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model_key: str
    provider_key: str
    wire_model: str
    output_kind: str


def provider_name(name: str) -> str:
    """A provider's own name, whichever of its names this is."""
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)


def split_brand(name: str) -> tuple[str | None, str]:
    """Provider and model of a name like `openai:gpt-4o`; a colon after anything else is part of the model.

    fal's own names begin with `fal-ai/`.
    """
    brand, colon, model = name.partition(":")
    if colon and (brand in TEXT_PROVIDERS or brand in MEDIA_PROVIDERS or brand in _ALIASES):
        return _ALIASES.get(brand, brand), model
    return ("fal" if name.startswith("fal-ai/") else None), name


def resolve_model(key: str | None, provider: str | None) -> Model:
    """The model that a job names, ready to be asked for text.

    `provider` is what the database says, or None to leave it to the registry. An unknown key of a known
    provider goes on the wire as it is. Raises `GiveUp`: `provider.model_not_found` without a usable key,
    `provider.unsupported` for a provider that the worker can't call, `provider.modality_unsupported` for
    a model that makes anything but text. The echo provider serves every text model, whoever owns it.
    """
    model = _describe(key, provider, None)
    if model.kind != "text":
        raise GiveUp("provider.modality_unsupported", f"{model.key} makes {model.kind}, not text")
    return _check_provider(model)


def registered_kind(name: str) -> str | None:
    """What a model makes, named with or without its provider; None for one that isn't registered."""
    provider, key = split_brand(name)
    row = _find(key, provider or "")
    return row.output_kind if row else None


def find_model(key: str | None, provider: str | None, modality: str | None = None) -> Model:
    """The model that a job names, whatever it makes: its `kind` is text, image, audio, video or music.

    The registry knows the kind of its models; of others `modality` tells it, or else their provider.
    Raises `GiveUp` like `resolve_model`, but for kinds.
    """
    return _check_provider(_describe(key, provider, modality))


def _describe(key: str | None, provider: str | None, modality: str | None) -> Model:
    name = (key or "").strip()
    owner = provider_name(provider or "")
    row = _find(name, owner)
    if not name or not (owner or row):
        raise GiveUp("provider.model_not_found", f"no provider is known for the model {name or '(none)'!r}")
    return Model(
        key=name,
        provider=owner or (row.provider_key if row else ""),
        wire_model=row.wire_model if row and row.wire_model else name,
        kind=row.output_kind if row else _kind(owner, modality),
    )


def _check_provider(model: Model) -> Model:
    callable_providers = TEXT_PROVIDERS if model.kind == "text" else TEXT_PROVIDERS | MEDIA_PROVIDERS.keys()
    if model.provider not in callable_providers and not settings().echo_provider:
        raise GiveUp("provider.unsupported", f"the worker can't call the provider {model.provider!r}")
    return model


def _kind(owner: str, modality: str | None) -> str:
    if modality in MEDIA_KINDS:
        return modality
    return MEDIA_PROVIDERS.get(owner, "text")


def _find(name: str, owner: str) -> _Row | None:
    """The registry's row for a model key, else the first with that wire name; only of `owner` if given."""
    rows = [row for row in _rows() if not owner or row.provider_key == owner]
    by_key = [row for row in rows if row.model_key == name]
    by_wire_name = [row for row in rows if name and row.wire_model == name]
    return next(iter(by_key + by_wire_name), None)


@cache
def _rows() -> tuple[_Row, ...]:
    text = files("app.providers").joinpath("models.csv").read_text(encoding="utf-8")
    return tuple(_Row.model_validate(row) for row in csv.DictReader(text.splitlines()))
