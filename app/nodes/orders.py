"""A node's medium: ordered once, waited for without a thread, and given when it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from app.errors import GiveUp
from app.nodes.task import Task
from app.platform.node_media import Made, Ordered, Wanted, fetch_ordered, order
from app.providers import Model
from app.providers.media import NO_WISHES, Wishes, check_order
from app.settings import settings
from app.workflow import NodeFailure, Output, Park, Usage, WaitingReason

#: An order ends by itself, at its task's expiry at the latest; its node looks at it this much later.
GRACE = timedelta(minutes=10)

_MEMO_KEY = "order"


def ordered_before(task: Task[Any]) -> Output | None:
    """What the order came to that the node made at an earlier turn; None if it made none.

    Raises `Park` while it isn't finished, and `GiveUp` with its error when it failed.
    """
    made_as = (task.memo or {}).get(_MEMO_KEY)
    return _come_to(task, UUID(str(made_as))) if made_as else None


def order_medium(
    task: Task[Any],
    model: Model,
    prompt: str,
    wishes: Wishes = NO_WISHES,
    source_url: str | None = None,
) -> NoReturn:
    """Order a medium of the node's model, and have the node wait for it.

    A run that is resumed finds the order that it made, so nothing is ordered, or paid for, twice.
    """
    if task.node.config.moderation in ("output", "both"):
        raise NodeFailure("invalid_config: moderation: what a model draws or says is not moderated")
    if model.kind == "text":
        raise GiveUp("provider.modality_unsupported", f"{model.key} makes text, no medium")
    check_order(model, wishes, has_source=source_url is not None)
    task.models.moderate_input(task.node, prompt)
    wanted = Wanted(
        provider=model.provider,
        model=model.key,
        wire_model=model.wire_model,
        kind=model.kind,  # type: ignore[arg-type]  # checked by the model that it goes into
        prompt=prompt,
        wishes=wishes,
        source_url=source_url,
    )
    _wait_for(order(task.database, task.run.run_id, task.node_id, wanted))


def _wait_for(order_id: UUID) -> NoReturn:
    longest = timedelta(seconds=settings().media_task_expiry_seconds) + GRACE
    raise Park(WaitingReason.EXTERNAL_CALLBACK, until=longest, memo={_MEMO_KEY: str(order_id)})


def _come_to(task: Task[Any], order_id: UUID) -> Output:
    found = fetch_ordered(task.database, order_id)
    if found is None:
        raise NodeFailure("order_lost: the medium's order was made too long ago")
    if found.state in ("queued", "running"):
        _wait_for(order_id)
    if found.result is None:
        raise GiveUp(found.error_code or "media.abandoned", found.error_message or "nobody waits for it")
    return _output(task, found, found.result)


def _output(task: Task[Any], found: Ordered, made: Made) -> Output:
    usage = Usage(found.provider, found.model, cost_credits=found.cost_credits)
    task.models.count(task.node, usage)
    kind = "audio" if made.modality == "music" else made.modality
    size = {"width": made.width, "height": made.height, "durationSeconds": made.duration_seconds}
    return Output(
        url=made.url,
        mime_type=made.mime,
        media_type=kind,
        metadata={"modelId": found.model},
        data={name: value for name, value in size.items() if value is not None},
    )
