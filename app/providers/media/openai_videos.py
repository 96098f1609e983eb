"""OpenAI's video generation (Sora): a task that ends in a URL."""

from __future__ import annotations

from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order, Pending, Started, Task
from app.providers.media.wire import MediaUrl, Seconds, bearer, get, parse, post_json, task_failed, task_id
from app.providers.wire import WirePart
from app.settings import settings

_SECONDS = 5
_WIDTH, _HEIGHT = 1280, 720

#: Both words are in use for the same thing.
_DONE = frozenset({"succeeded", "completed"})


class _Accepted(WirePart):
    id: str


class _Error(WirePart):
    code: str | None = None
    message: str | None = None


class _Video(WirePart):
    url: MediaUrl


class _Generation(WirePart):
    status: str
    data: list[_Video] | None = None
    duration: Seconds = None
    error: _Error | str | None = None


HONOURS = frozenset({"duration_seconds"})


def submit(order: Order, key: str, timeout_seconds: float) -> Started:
    """Order one video, of five seconds unless wished otherwise."""
    seconds = order.wishes.duration_seconds or _SECONDS
    body = {
        "model": order.model.wire_model,
        "prompt": order.prompt,
        "duration": seconds,
        "size": f"{_WIDTH}x{_HEIGHT}",
    }
    accepted = parse(_Accepted, post_json(_url(), body, bearer(key), timeout_seconds))
    return Started(accepted.id, poll_after_seconds=15, seconds=seconds)


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
    """Ask for the generation's status."""
    found = parse(_Generation, get(f"{_url()}/{task_id(task.task_id)}", bearer(key), timeout_seconds))
    if found.status in {"failed", "cancelled", "canceled"}:
        error = found.error if isinstance(found.error, _Error) else _Error(message=found.error)
        raise task_failed("openai", error.message or found.status, error.code or "", key)
    if found.status not in _DONE:
        return Pending()
    if not found.data:
        raise BadReplyError("the generation is done but there is no video in it")
    return Finished(
        Media(
            "video/mp4",
            url=found.data[0].url,
            width=_WIDTH,
            height=_HEIGHT,
            duration_seconds=found.duration or _SECONDS,
        )
    )


def _url() -> str:
    return f"{settings().openai_base_url.rstrip('/')}/video/generations"
