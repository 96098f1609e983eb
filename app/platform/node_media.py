"""Media that nodes of workflows order, as the worker keeps them: the claimed order, and what came of it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, ConfigDict

from app.database import Database
from app.errors import JobError
from app.platform.json_values import storable
from app.providers import Model
from app.providers.media import NO_WISHES, Wishes


class Wanted(BaseModel):
    """What a node orders; `source_url` is of the medium that it shall be made of, if of any."""

    model_config = ConfigDict(protected_namespaces=())

    provider: str
    model: str
    wire_model: str
    kind: Literal["image", "video", "audio", "music"]
    prompt: str
    wishes: Wishes = NO_WISHES
    source_url: str | None = None

    @property
    def ordered_from(self) -> Model:
        """The model that shall make it."""
        return Model(self.model, self.provider, self.wire_model, self.kind)


class NodeMedium(Wanted):
    """An order as worker.fn_running_node_medium describes it; the workflow's owner pays, by the platform."""

    id: UUID
    run_id: UUID
    node_id: UUID
    owner_lenser_id: UUID


class Made(BaseModel):
    """A medium that is kept."""

    url: str
    mime: str
    modality: str
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


class Ordered(BaseModel):
    """How an order stands; `result` is there once it is finished, an error once it has failed."""

    id: UUID
    provider: str
    model: str
    state: Literal["queued", "running", "finished", "failed", "abandoned"]
    result: Made | None
    cost_credits: int
    error_code: str | None
    error_message: str | None


def order(database: Database, run_id: UUID, node_id: UUID, wanted: Wanted) -> UUID:
    """Order a node's medium, or find the order that it is made by already; returns the order's id."""
    rows = database.call(
        "SELECT worker.fn_order_node_medium(%s, %s, %s) AS id",
        (run_id, node_id, Json(storable(wanted.model_dump(mode="json")))),
    )
    return UUID(str(rows[0]["id"]))


def fetch_ordered(database: Database, order_id: UUID) -> Ordered | None:
    """How an order stands, or None when it is long forgotten."""
    rows = database.call(
        """
        SELECT id, wanted ->> 'provider' AS provider, wanted ->> 'model' AS model, state, result,
               cost_credits, error_code, error_message
        FROM worker.node_media WHERE id = %s
        """,
        (order_id,),
    )
    return Ordered.model_validate(rows[0]) if rows else None


def fail_node_medium(tx: cursor, order_id: UUID, error: JobError) -> None:
    """Mark an order as failed; its node fails with it."""
    tx.execute(
        "SELECT worker.fn_end_node_medium(%s, 'failed', %s, %s)",
        (order_id, error.code, storable(error.message)),
    )


def may_read(database: Database, lenser_id: UUID, url: str, bucket: str, object_key: str) -> bool:
    """Whether a person may have a file of Storage read."""
    rows = database.call(
        "SELECT worker.fn_may_read_object(%s, %s, %s, %s) AS may", (lenser_id, url, bucket, object_key)
    )
    return bool(rows[0]["may"])
