"""What detection reads and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's vote, with what was known about the voter when it was cast.

    `cast_at` is in seconds since 1970. `is_unknown` says that the voter never stood in a battle nor voted in
    another one. `address` is a hash that voters at one address share, or None where it isn't known.
    """

    vote_id: UUID
    voter_id: UUID
    choice: str
    cast_at: float
    account_age_seconds: float
    is_unknown: bool
    address: str | None = None

    @property
    def account_created_at(self) -> float:
        """When the account was made, in seconds since 1970."""
        return self.cast_at - self.account_age_seconds


@dataclass(frozen=True)
class Signal:
    """One reason to doubt some votes: how sure it is (0 to 1), what it rests on, and whose votes."""

    type: str
    score: float
    evidence: Mapping[str, Any]
    voters: tuple[UUID, ...]
