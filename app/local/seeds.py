"""What a freshly seeded reference platform holds, as data: people, lenses, keys and models.

Ids follow from names, so that seeding twice changes nothing and a name is enough to find a row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

_NAMESPACE = UUID("5f1b3c6e-5a0e-4f0e-9d8e-0c6d1f2f7a11")
_MODELS_FILE = Path(__file__).parents[1] / "providers" / "models.csv"


@dataclass(frozen=True)
class Key:
    """A key that a person brought; `secret` is made up and opens nothing."""

    owner: str
    provider: str
    secret: str
    is_active: bool


@dataclass(frozen=True)
class Version:
    """One version of a lens; `parameters` maps each label to the name of its tool."""

    body: str
    parameters: Mapping[str, str]
    status: str = "published"


@dataclass(frozen=True)
class Model:
    """A row of the table of models that the providers know."""

    key: str
    provider: str
    output_kind: str


def seeded_id(kind: str, name: str) -> UUID:
    """The id that the seeded row of this kind and name has."""
    return uuid5(_NAMESPACE, f"{kind}/{name}")


def read_models() -> Iterator[Model]:
    """The models of `app/providers/models.csv`."""
    with _MODELS_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Model(row["model_key"], row["provider_key"], row["output_kind"])


PEOPLE = {"ada": "Ada Lovelace", "grace": "Grace Hopper"}

#: Workspace -> owner.
WORKSPACES = {"engine-room": "ada", "flight-deck": "grace"}

#: Tool -> whether a parameter of it must have a value.
TOOLS = {"required_text": True, "optional_text": False}

KEYS = {
    "active": Key("ada", "openai", "sk-local-active-0001", is_active=True),
    "revoked": Key("ada", "openai", "sk-local-revoked-0002", is_active=False),
}

#: Lens -> its versions from 1 on: plain and legacy tokens, Liquid, and Liquid that can't be parsed.
LENSES = {
    "greeting": (
        Version("Say hello to [[name]]. Use one short sentence and no emoji.", {"name": "required_text"}),
        Version(
            f"Greet [[name]] in [[language]]. Tone: [[:{seeded_id('parameter', 'greeting/2/tone')}]].",
            {"name": "required_text", "language": "required_text", "tone": "optional_text"},
        ),
        Version(
            "Say goodbye to [[name]]. Use one short sentence and no emoji.",
            {"name": "required_text"},
            status="draft",
        ),
    ),
    "summary": (
        Version(
            "{% if tone %}Write in a {{ tone | downcase }} tone. {% endif %}Summarise: {{ text | strip }}",
            {"text": "required_text", "tone": "optional_text"},
        ),
    ),
    "broken": (Version("{% if name %}Hello, and welcome on board, dear {{ name", {"name": "required_text"}),),
}
