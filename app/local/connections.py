"""Accounts at services that a seeded person has connected, on a reference platform."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from psycopg2.extensions import connection

from app.local.seeds import WORKSPACES, seeded_id


def connect_account(
    session: connection,
    ref: str,
    token: str,
    scopes: Sequence[str] = (),
    *,
    owner: str | UUID = "ada",
    refresh_token: str | None = None,
    expires_in: timedelta | None = timedelta(hours=1),
) -> UUID:
    """Connect an account under the name `provider.capability.label`; `owner` is a seed or a profile's id."""
    workspaces = {person: name for name, person in WORKSPACES.items()}
    workspace = workspaces.get(str(owner), workspaces["ada"])
    with session.cursor() as tx:
        tx.execute(
            "SELECT public.fn_oauth_upsert_connection(%s, %s, %s, %s, %s, %s, %s, %s::text[], %s)",
            (
                seeded_id("person", owner) if isinstance(owner, str) else owner,
                seeded_id("workspace", workspace),
                *ref.split("."),
                token,
                refresh_token,
                list(scopes),
                datetime.now(UTC) + expires_in if expires_in is not None else None,
            ),
        )
        row: tuple[UUID] | None = tx.fetchone()
    assert row is not None, "a function returns its row"
    return row[0]
