"""The headers of a webhook: Standard Webhooks, and the platform's two older sets, over the same bytes.

Every secret signs in `webhook-signature`, so that a receiver may know either during a change of secrets.
The older headers have room for one signature, the newest secret's; their key is the secret's text.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from app.webhooks.delivery import Delivery

#: What the platform writes where it has no secret to sign with.
UNSIGNED = "unsigned"

#: Marks a secret that is base64 of the key's bytes.
_STANDARD_PREFIX = "whsec_"


def headers_of(delivery: Delivery, body: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """All headers of one attempt; `secrets` are live, the newest first, and without any it is unsigned.

    The id is the outbox row's and the same in every attempt, the timestamp is the attempt's.
    """
    delivery_id = str(delivery.outbox_id)
    platform = platform_signature(secrets[0], body) if secrets else UNSIGNED
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "X-LF-Event-Type": delivery.event_type,
        "X-LF-Delivery-Id": delivery_id,
        "X-LF-Signature": platform,
        "X-Lenserfight-Webhook": delivery.event_type,
        "X-Lenserfight-Version": "1",
        "X-Lenserfight-Signature": platform,
    }
    if secrets:
        headers["webhook-signature"] = " ".join(
            standard_signature(secret, delivery_id, now, body) for secret in secrets
        )
    return headers


def platform_signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hexadecimal HMAC-SHA256 of the body."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def standard_signature(secret: str, message_id: str, now: datetime, body: bytes) -> str:
    """One `v1,` signature of Standard Webhooks over id, timestamp and body."""
    return Webhook(standard_key(secret)).sign(message_id, now, body.decode())


def standard_key(secret: str) -> str | bytes:
    """The key for a Standard Webhooks library: a `whsec_` secret as it is, any other one's bytes."""
    return secret if secret.startswith(_STANDARD_PREFIX) else secret.encode()
