from __future__ import annotations

from typing import Any
from uuid import uuid4

from app.webhooks.delivery import Delivery


def delivery(**changes: Any) -> Delivery:
    """A first attempt at a row of the platform's own."""
    fields: dict[str, Any] = {
        "outbox_id": uuid4(),
        "event_type": "moderation_flagged",
        "target_url": "https://hooks.example/in",
        "payload": '{"a": 1}',
        "attempts": 0,
        "endpoint": "https://hooks.example/in",
        "subscription_id": None,
        "battle_id": None,
        "secrets": [],
        "failing_seconds": None,
        "refusal": None,
    }
    return Delivery.model_validate({**fields, **changes})
