"""The row of a run's medium, as the platform's table takes it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json

from app.local.platform import Seeded, enqueue_lens_run
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows, update
from tests.sql import call

COMPLETE = "SELECT worker.fn_complete_media_run(%s, %s)"
VIDEO = {
    "url": "https://storage.example/v.mp4",
    "bucket": "run-artifacts",
    "object_key": "sync/v.mp4",
    "mime": "video/mp4",
    "modality": "video",
    "bytes": 7,
}


@pytest.fixture
def run_id(connection: Connection, seeded: Seeded) -> UUID:
    return enqueue_lens_run(connection, model="sora-2", inputs={}, output_modality="video")


def complete(connection: Connection, run_id: UUID, **medium: Any) -> dict[str, Any]:
    """Complete a run that is running, and give the rows of all media."""
    update(connection, "execution.runs", run_id, status="running")
    assert call(connection, COMPLETE, run_id, Json({**VIDEO, **medium})) is True
    (row,) = rows(connection, "SELECT * FROM media.objects")
    return row


@BOTH_PLATFORMS
def test_a_file_that_is_stored_again_keeps_its_row(connection: Connection, run_id: UUID) -> None:
    first = complete(connection, run_id)
    again = complete(connection, run_id)
    assert (again["id"], again["bucket"], again["object_key"]) == (
        first["id"],
        "run-artifacts",
        "sync/v.mp4",
    )
    assert again["external_url"] is None
    assert call(connection, "SELECT count(*) FROM execution.artifact_medias") == 2


@pytest.mark.parametrize(
    ("told", "kept"),
    [((640, 480, 8), (640, 480, 8)), ((0, 0, 0), (None, None, None)), ((1, 1, 301), (1, 1, None))],
)
def test_sizes_that_the_platform_refuses_are_left_out(
    connection: Connection, run_id: UUID, told: tuple[int, int, int], kept: tuple[int | None, ...]
) -> None:
    width, height, seconds = told
    row = complete(connection, run_id, width=width, height=height, duration_seconds=seconds)
    assert (row["video_width"], row["video_height"], row["duration_seconds"]) == kept
    assert row["metadata"]["duration_seconds"] == seconds
