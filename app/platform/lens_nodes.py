"""What a lens node needs from the platform: its lens, its model's provider, its agent's memory."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, JsonValue

from app.database import Database
from app.platform.lens_runs import LensVersion

#: Most memories of an agent that go before a prompt.
MOST_MEMORIES = 20


class LensContent(BaseModel):
    """The version of a lens that a node uses; one that isn't pinned by its node has no contracts."""

    version: LensVersion
    input_contract: JsonValue = None
    output_contract: JsonValue = None


def fetch_lens(database: Database, lens_id: str, version_id: str | None) -> LensContent | None:
    """The pinned version of a lens, else its newest published one, else its newest; None if there is none."""
    rows = database.call("SELECT * FROM worker.fn_lens_content(%s::uuid, %s::uuid)", (lens_id, version_id))
    return LensContent.model_validate(rows[0]) if rows else None


class KnownModel(BaseModel):
    """Who serves a model, and what it makes where the database says so."""

    provider: str
    modality: str | None


def fetch_model(database: Database, model_key: str) -> KnownModel | None:
    """What the database knows of a model, or None if it doesn't know it."""
    rows = database.call("SELECT * FROM worker.fn_known_model(%s)", (model_key,))
    return KnownModel.model_validate(rows[0]) if rows else None


def fetch_memory(database: Database, ai_lenser_id: UUID) -> str:
    """What goes before every prompt of an agent; blank if it remembers nothing."""
    rows = database.call(
        "SELECT fn_build_lenser_prompt_context(%s, %s) AS text", (ai_lenser_id, MOST_MEMORIES)
    )
    return rows[0]["text"] or ""
