"""Put the seeds into a reference platform, by direct SQL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.extensions import connection, cursor
from psycopg2.extras import register_uuid
from psycopg2.sql import SQL, Identifier, Placeholder

from app.local.seeds import KEYS, LENSES, PEOPLE, TOOLS, WORKSPACES, Key, Version, read_models, seeded_id

register_uuid()


@dataclass(frozen=True)
class Seeded:
    """What `seed` left in the database: ids by name.

    `users` are the sign-ins of `people`, the claim `sub`. Versions are named `greeting/2`, parameters
    `greeting/2/name`. The content behind the names stands in `app.local.seeds`.
    """

    people: Mapping[str, UUID]
    users: Mapping[str, UUID]
    workspaces: Mapping[str, UUID]
    providers: Mapping[str, UUID]
    models: Mapping[str, UUID]
    lenses: Mapping[str, UUID]
    versions: Mapping[str, UUID]
    parameters: Mapping[str, UUID]
    keys: Mapping[str, UUID]


def seed(dsn: str) -> Seeded:
    """Put the seeds into a migrated reference platform; rows that are there stay as they are."""
    with closing(psycopg2.connect(dsn)) as session, session:
        models = {
            model.key: ensure_model(session, model.key, model.provider, model.output_kind)
            for model in read_models()
        }
        with session.cursor() as tx:
            tx.execute("SELECT key, id FROM ai.providers")
            providers: dict[str, UUID] = dict(tx.fetchall())
            people = {name: _seed_person(tx, name) for name in PEOPLE}
            workspaces = {name: _seed_workspace(tx, name) for name in WORKSPACES}
            keys = {name: _seed_key(tx, name, key, providers[key.provider]) for name, key in KEYS.items()}
            for name, required in TOOLS.items():
                _insert(tx, "lenses.tools", "tool", name, key=name, type="text", required=required)
            lenses = {name: _seed_lens(tx, name) for name in LENSES}
            numbered = {
                f"{lens}/{number}": version
                for lens, versions in LENSES.items()
                for number, version in enumerate(versions, 1)
            }
    return Seeded(
        people=people,
        users={name: seeded_id("user", name) for name in PEOPLE},
        workspaces=workspaces,
        providers=providers,
        models=models,
        lenses=lenses,
        versions={name: seeded_id("version", name) for name in numbered},
        parameters={
            f"{name}/{label}": seeded_id("parameter", f"{name}/{label}")
            for name, version in numbered.items()
            for label in version.parameters
        },
        keys=keys,
    )


def ensure_model(session: connection, key: str, provider: str, output_kind: str = "text") -> UUID:
    """The id of an active model of that key and provider, which are made if they are missing."""
    with session.cursor() as tx:
        tx.execute(
            """
            WITH provider AS (
                INSERT INTO ai.providers (key, display_name) VALUES (%(provider)s, %(provider)s)
                ON CONFLICT (key) DO UPDATE SET updated_at = now()
                RETURNING id
            )
            INSERT INTO ai.models (key, name, provider_id, is_active, output_modalities)
            SELECT %(key)s, %(key)s, provider.id, true, ARRAY[%(output_kind)s] FROM provider
            ON CONFLICT (key) DO UPDATE SET provider_id = excluded.provider_id, is_active = true
            RETURNING id
            """,
            {"key": key, "provider": provider, "output_kind": output_kind},
        )
        row: tuple[UUID] | None = tx.fetchone()
        assert row is not None, "an upsert returns its row"
        return row[0]


def _seed_person(tx: cursor, name: str) -> UUID:
    user = _insert(tx, "auth.users", "user", name, email=f"{name}@example.com", created_at=datetime.now(UTC))
    return _insert(
        tx,
        "lensers.profiles",
        "person",
        name,
        user_id=user,
        handle=PEOPLE[name].lower().replace(" ", "."),
        display_name=PEOPLE[name],
    )


def _seed_workspace(tx: cursor, name: str) -> UUID:
    owner = seeded_id("person", WORKSPACES[name])
    return _insert(
        tx,
        "tenancy.workspaces",
        "workspace",
        name,
        slug=name,
        type="personal",
        display_name=name,
        owner_lenser_id=owner,
    )


def _seed_key(tx: cursor, name: str, key: Key, provider: UUID) -> UUID:
    return _insert(
        tx,
        "ai.keys",
        "key",
        name,
        lenser_id=seeded_id("person", key.owner),
        label=name,
        encrypted_key_id=_insert(tx, "vault.secrets", "secret", name, name=name, secret=key.secret),
        key_suffix=key.secret[-4:],
        is_active=key.is_active,
        status="active" if key.is_active else "revoked",
        provider_id=provider,
    )


def _seed_lens(tx: cursor, name: str) -> UUID:
    lens = _insert(tx, "lenses.lenses", "lens", name, lenser_id=seeded_id("person", "ada"))
    for number, version in enumerate(LENSES[name], 1):
        _seed_version(tx, lens, f"{name}/{number}", number, version)
    head = seeded_id("version", f"{name}/{len(LENSES[name])}")
    tx.execute("UPDATE lenses.lenses SET head_version_id = %s WHERE id = %s", (head, lens))
    return lens


def _seed_version(tx: cursor, lens: UUID, name: str, number: int, version: Version) -> None:
    version_id = _insert(
        tx,
        "lenses.versions",
        "version",
        name,
        lens_id=lens,
        version_number=number,
        template_body=version.body,
        status=version.status,
        published_at=datetime.now(UTC) if version.status == "published" else None,
    )
    for label, tool in version.parameters.items():
        _insert(
            tx,
            "lenses.version_parameters",
            "parameter",
            f"{name}/{label}",
            version_id=version_id,
            label=label,
            tool_id=seeded_id("tool", tool),
        )


def _insert(tx: cursor, table: str, kind: str, seed_name: str, **columns: Any) -> UUID:
    """Insert the seeded row of this kind and name unless it is there, and return its id."""
    columns["id"] = seeded_id(kind, seed_name)
    statement = SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING").format(
        Identifier(*table.split(".")),
        SQL(", ").join(map(Identifier, columns)),
        SQL(", ").join(map(Placeholder, columns)),
    )
    tx.execute(statement, columns)
    return seeded_id(kind, seed_name)
