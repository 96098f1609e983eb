"""Ids that stand for a node of a run, in the forms in which services take them."""

from __future__ import annotations

import hashlib
from uuid import UUID


def uuid_of(key: str) -> str:
    """A version 4 UUID that is the same whenever it is asked for."""
    return str(UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))


def digest_of(key: str) -> str:
    """Forty hexadecimal digits that are the same whenever they are asked for."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]
