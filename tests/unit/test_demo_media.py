"""The demo looks at what became of a medium: where it is, what it is, and how often it was ordered."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.cli.demo.media import Ordered, tally
from app.cli.demo.media_cases import MediaCase, Order, media_cases
from app.local.media_progress import STATES
from app.local.media_samples import MP3, PNG, SAMPLES
from app.local.provider_scenarios import SCENARIOS
from app.local.seeds import read_models
from app.local.storage_server import StorageServer, StoredObject

IMAGE = MediaCase("image", (Order("gpt-image-1", "image"),))
FAILING = MediaCase(
    "video", (Order("kling-2.0", "video", "k", ("pending", "failed"), "provider.task_failed"),)
)
BATTLE = MediaCase("battle", (Order("gpt-image-1", "image"), Order("gpt-image-1", "image")))
PATH = "generated-media/sync/1.png"


@pytest.fixture(name="storage")
def storage_that_has_a_picture() -> Iterator[StorageServer]:
    with StorageServer() as storage:
        storage.objects[PATH] = StoredObject("image/png", PNG)
        yield storage


def found(storage: StorageServer, **changes: object) -> Ordered:
    row = Ordered(
        owner=uuid4(),
        slot=0,
        status="succeeded",
        error_code=None,
        url=f"{storage.url}/storage/v1/object/authenticated/{PATH}",
        battle_status="voting",
        orders=1,
        polls=0,
        pickup_ms=3.0,
    )
    return row._replace(**changes)


def test_a_medium_in_its_place_is_well(storage: StorageServer) -> None:
    seen = tally(IMAGE, [found(storage)], storage)
    assert (seen.total, seen.succeeded, seen.surprises, seen.pickups_ms) == (1, 1, (), (3.0,))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"url": "https://example.com/1.png"}, "not in Storage"),
        ({"url": None}, "not in Storage"),
        ({"orders": 2}, "ordered 2 times"),
        ({"polls": 1}, "polled in vain 1 times"),
        ({"status": "failed", "error_code": "media.wrong_type"}, "media.wrong_type instead of None"),
    ],
)
def test_a_medium_that_is_not_as_it_should_be_is_a_surprise(
    storage: StorageServer, changes: dict[str, object], complaint: str
) -> None:
    (surprise,) = tally(IMAGE, [found(storage, **changes)], storage).surprises
    assert complaint in surprise


def test_a_file_that_is_something_else_is_a_surprise(storage: StorageServer) -> None:
    storage.objects[PATH] = StoredObject("image/png", MP3)
    (surprise,) = tally(IMAGE, [found(storage)], storage).surprises
    assert "image/png" in surprise


def test_a_failure_must_have_its_code(storage: StorageServer) -> None:
    row = found(storage, status="failed", error_code="provider.task_failed", url=None, polls=1)
    assert tally(FAILING, [row], storage).surprises == ()
    assert tally(FAILING, [row._replace(error_code="provider.task_expired")], storage).surprises


def test_what_is_not_there_yet_is_queued(storage: StorageServer) -> None:
    seen = tally(BATTLE, [], storage)
    assert (seen.queued, seen.total) == (2, 2)
    seen = tally(BATTLE, [found(storage), found(storage, slot=1, status="claimed")], storage)
    assert (seen.running, seen.succeeded, seen.queued) == (1, 1, 0)


def test_a_battle_that_is_stuck_after_both_media_is_a_surprise(storage: StorageServer) -> None:
    rows = [found(storage, slot=slot, status="completed", battle_status="executing") for slot in (0, 1)]
    (surprise,) = tally(BATTLE, rows, storage).surprises
    assert surprise.endswith("the battle is executing")


def test_every_case_of_media_can_be_ordered() -> None:
    cases = list(media_cases())
    models = {model.key for model in read_models()}
    assert len({case.label for case in cases}) == len(cases)
    for order in (order for case in cases for order in case.orders):
        assert order.model in models
        assert order.kind in SAMPLES
        assert set(order.plan) <= STATES | SCENARIOS
        assert bool(order.plan) == bool(order.wire_model)
