"""Tokens for Realtime: the service key itself, or short-lived ones that we sign."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Token:
    """A token and when it expires, in seconds since 1970; None when that can't be told."""

    value: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"


class Tokens(Protocol):
    """Where tokens come from."""

    def fresh(self) -> Token:
        """A token that is valid from now on, as long as possible."""


@dataclass(frozen=True)
class ServiceKey:
    """The service role key. It is all there is, so it is sent again, and works as long as it is valid."""

    key: str

    def __repr__(self) -> str:
        return "ServiceKey()"

    def fresh(self) -> Token:
        """The key, with the expiry that it names if it is a JWT."""
        return Token(self.key, _expiry_of(self.key))


@dataclass(frozen=True)
class Signed:
    """Tokens for the service role, signed with the project's JWT secret (HS256)."""

    secret: str
    lifetime_seconds: float

    def __repr__(self) -> str:
        return f"Signed(lifetime_seconds={self.lifetime_seconds})"

    def fresh(self) -> Token:
        """A token that expires a lifetime from now."""
        now = time.time()
        expires_at = now + self.lifetime_seconds
        claims = {"role": "service_role", "iss": "supabase", "iat": int(now), "exp": int(expires_at)}
        body = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        signature = hmac.digest(self.secret.encode(), body.encode(), hashlib.sha256)
        return Token(f"{body}.{_base64(signature)}", float(int(expires_at)))


def _encode(part: dict[str, object]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _expiry_of(token: str) -> float | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return None
