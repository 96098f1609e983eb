"""Suno's music: a task that ends in a URL.

Replies come in two shapes, `{"clips": [clip]}` and a bare list; an accepted order also as a bare clip.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order, Pending, Started, Task
from app.providers.media.wire import MediaUrl, Seconds, bearer, get, post_json, task_failed, task_id
from app.providers.wire import WirePart
from app.settings import settings

_SECONDS = 30


class _Accepted(WirePart):
    id: str


class _AcceptedClips(WirePart):
    clips: list[_Accepted]


class _Clip(WirePart):
    id: str
    status: str
    # Blank until the clip is complete.
    audio_url: str | None = None
    duration: Seconds = None
    error_message: str | None = None


class _Complete(WirePart):
    audio_url: MediaUrl


class _Clips(WirePart):
    clips: list[_Clip]


_ORDER: TypeAdapter[_AcceptedClips | list[_Accepted] | _Accepted] = TypeAdapter(
    _AcceptedClips | list[_Accepted] | _Accepted
)
_STATUS: TypeAdapter[_Clips | list[_Clip]] = TypeAdapter(_Clips | list[_Clip])


HONOURS = frozenset({"duration_seconds"})


def submit(order: Order, key: str, timeout_seconds: float) -> Started:
    """Order thirty seconds of music, unless another length is wished for."""
    seconds = order.wishes.duration_seconds or _SECONDS
    body = {
        "prompt": order.prompt,
        "mv": order.model.wire_model,
        "duration": seconds,
        "make_instrumental": False,
        "wait_audio": False,
        "format": "mp3",
    }
    url = f"{settings().suno_base_url.rstrip('/')}/api/generate"
    accepted = _ORDER.validate_json(post_json(url, body, bearer(key), timeout_seconds).content)
    clips = accepted.clips if isinstance(accepted, _AcceptedClips) else accepted
    first = clips if isinstance(clips, _Accepted) else next(iter(clips), None)
    if first is None:
        raise BadReplyError("there is no clip in it")
    return Started(first.id, poll_after_seconds=20, seconds=seconds)


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
    """Ask for the clip."""
    name = task_id(task.task_id)
    response = get(f"{settings().suno_base_url.rstrip('/')}/api/get", bearer(key), timeout_seconds, ids=name)
    found = _STATUS.validate_json(response.content)
    clips = found.clips if isinstance(found, _Clips) else found
    clip = next((clip for clip in clips if clip.id == name), None)
    if clip is None:
        return Pending()
    if clip.status == "error":
        raise task_failed("suno", clip.error_message or "no reason given", "", key)
    if clip.status != "complete":
        return Pending()
    url = _Complete.model_validate({"audio_url": clip.audio_url}).audio_url
    return Finished(Media("audio/mpeg", url=url, duration_seconds=clip.duration))
