"""The reference platform has the real one's constraints, except for differences that have a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.catalog import differences, expected_catalog, read_catalog
from tests.databases import Databases

DATA = Path(__file__).parent / "data"
#: The real platform's catalog; a CHECK that follows from another one is left out.
FACTS: dict[str, Any] = json.loads((DATA / "platform_schema.json").read_text(encoding="utf-8"))
#: Reason -> the differences that it excuses.
EXCUSED: dict[str, list[str]] = json.loads((DATA / "platform_differences.json").read_text(encoding="utf-8"))


@pytest.fixture
def platform(databases: Databases) -> Iterator[Connection]:
    """A transaction on a reference platform, with an empty search path."""
    with (
        databases.fresh("repaired") as dsn,
        closing(psycopg2.connect(dsn, options="-c search_path=")) as session,
    ):
        yield session


def found(platform: Connection) -> set[str]:
    return set(differences(read_catalog(platform), expected_catalog(platform, FACTS)))


def test_every_difference_from_the_real_platform_has_a_reason(platform: Connection) -> None:
    excused = {line for lines in EXCUSED.values() for line in lines}
    now = found(platform)
    assert not now - excused, "new differences"
    assert not excused - now, "reasons for differences that are gone"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "ALTER TABLE media.objects ADD COLUMN colour text",
            "media.objects: column colour is extra",
        ),
        (
            "ALTER TABLE agents.team_messages DROP COLUMN kind",
            "agents.team_messages: column kind is missing",
        ),
        (
            "ALTER TABLE lenses.workflow_runs ALTER status DROP NOT NULL",
            "lenses.workflow_runs: column status is text default and not text not null default",
        ),
        (
            "ALTER TABLE lenses.workflow_runs ALTER status DROP DEFAULT",
            "lenses.workflow_runs: column status is text not null and not text not null default",
        ),
        (
            "ALTER TABLE battles.votes ALTER weight TYPE real",
            "battles.votes: column weight is real not null default and not numeric not null default",
        ),
        (
            "ALTER TYPE battles.vote_value_enum ADD VALUE 'both'",
            "battles.vote_value_enum: has ['both', 'contender_a', 'contender_b', 'draw']"
            " and not ['contender_a', 'contender_b', 'draw']",
        ),
        (
            "DROP INDEX media.objects_bucket_object_key_key;"
            " CREATE UNIQUE INDEX ON media.objects (bucket, object_key) WHERE object_key IS NOT NULL",
            "media.objects: unique (bucket, object_key)"
            " WHERE ((bucket IS NOT NULL) AND (object_key IS NOT NULL)) is missing",
        ),
        (
            "ALTER TABLE execution.artifacts DROP CONSTRAINT artifacts_run_id_fkey;"
            " ALTER TABLE execution.artifacts ADD FOREIGN KEY (run_id) REFERENCES execution.runs",
            "execution.artifacts: foreign key (run_id) REFERENCES execution.runs(id) ON DELETE CASCADE"
            " is missing",
        ),
        (
            "ALTER TABLE agents.memories DROP CONSTRAINT memories_source_check;"
            " ALTER TABLE agents.memories ADD CHECK (source IN ('user', 'agent', 'tool', 'eval'))",
            "agents.memories: check (source = ANY"
            " (ARRAY['agent'::text, 'eval'::text, 'tool'::text, 'user'::text])) is extra",
        ),
        (
            "DROP TRIGGER trg_prevent_self_vote ON battles.votes",
            "battles.votes: trigger before insert: trg_prevent_self_vote is missing",
        ),
    ],
)
def test_each_kind_of_difference_is_named(platform: Connection, change: str, named: str) -> None:
    with platform.cursor() as cursor:
        cursor.execute(change)
    assert named in found(platform)


def test_the_order_of_alternatives_is_no_difference(platform: Connection) -> None:
    before = found(platform)
    with platform.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE agents.memories DROP CONSTRAINT memories_source_check;"
            " ALTER TABLE agents.memories ADD CHECK (source IN ('manual','eval','tool','agent','user'))"
        )
    assert found(platform) == before
