"""A delivery as worker.fn_sending_webhook gives it, and the exact bytes that are sent for it."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from app.redaction import remember_secret


class Delivery(BaseModel):
    """A claimed row of the outbox.

    `attempts` are those already made; `payload` is JSON text. `secrets` are live, the newest first. A battle
    subscription's delivery has both of its ids, any other one neither. `failing_seconds` is how long the
    endpoint has done nothing but fail. With a `refusal` nothing may be sent any more.
    """

    outbox_id: UUID
    event_type: str
    target_url: str
    payload: str = Field(repr=False)
    attempts: int
    endpoint: str
    subscription_id: UUID | None
    battle_id: UUID | None
    secrets: list[SecretStr]
    failing_seconds: float | None
    refusal: str | None

    @property
    def host(self) -> str:
        """The part of the URL that may be logged: paths and queries of webhooks are secrets of their own."""
        return self.target_url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    def live_secrets(self, previous: SecretStr) -> list[str]:
        """The secrets to sign with, the newest first; the platform's replaced one counts for its own rows."""
        replaced = [previous] if self.subscription_id is None and self.secrets else []
        values = [secret.get_secret_value() for secret in [*self.secrets, *replaced]]
        for value in values:
            remember_secret(value)
        return list(dict.fromkeys(filter(None, values)))


def body_of(delivery: Delivery, now: datetime) -> bytes:
    """What the endpoint gets: a subscription's event in its envelope, any other row's payload as it is.

    The bytes are what is signed; receivers must verify them before they parse them.
    """
    if delivery.battle_id is None:
        return delivery.payload.encode()
    envelope = {
        "event_type": delivery.event_type,
        "battle_id": str(delivery.battle_id),
        "payload": json.loads(delivery.payload),
        "delivered_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
