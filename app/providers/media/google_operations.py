"""Google's Veo (video) and Lyria (music): operations that run for minutes.

A task id says where its operation lives: `ai-studio|name`, or `vertex:region|name`. Untagged ones, which
other producers write, are told apart by their first word.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from app.errors import GiveUp
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order, Pending, Started, Task
from app.providers.media.wire import (
    MediaUrl,
    bearer,
    decode_media,
    get,
    parse,
    post_json,
    segment,
    task_failed,
)
from app.providers.outcomes import content_refused
from app.providers.wire import Lenient, WirePart
from app.settings import settings

_VIDEO_SECONDS, _MUSIC_SECONDS = 8, 30
_TAGGED = re.compile(r"(?:ai-studio|vertex:(?P<region>[a-z0-9-]{1,40}))\|(?P<name>.+)")
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)+[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class _Accepted(WirePart):
    name: Annotated[str, Field(pattern=_NAME)]


class _Status(WirePart):
    code: int = 0
    message: str = ""
    status: str = ""


class _Video(WirePart):
    uri: MediaUrl


class _Sample(WirePart):
    video: _Video


class _Videos(WirePart):
    generatedSamples: tuple[_Sample, ...] = ()  # noqa: N815  # the wire's name
    raiMediaFilteredReasons: tuple[str, ...] = ()  # noqa: N815  # the wire's name


class _Music(WirePart):
    audioContent: str | None = None  # noqa: N815  # the wire's name
    bytesBase64Encoded: str | None = None  # noqa: N815  # the wire's name
    mimeType: str = "audio/mpeg"  # noqa: N815  # the wire's name


class _Response(_Music):
    generateVideoResponse: Annotated[_Videos, Lenient] = _Videos()  # noqa: N815  # the wire's name
    predictions: tuple[_Music, ...] = ()


class _Operation(WirePart):
    done: bool = False
    error: _Status | None = None
    response: _Response = _Response()


#: Of videos only; how long one is isn't told afterwards, and has to be known for its price.
HONOURS = frozenset({"aspect_ratio"})


def submit(order: Order, key: str, timeout_seconds: float) -> Started:
    """Order one video of eight seconds, or thirty seconds of music."""
    model = segment(order.model.wire_model)
    url = f"{settings().google_base_url.rstrip('/')}/v1beta/models/{model}:predictLongRunning"
    accepted = parse(_Accepted, post_json(url, _body(order), {"x-goog-api-key": key}, timeout_seconds))
    seconds = _VIDEO_SECONDS if order.model.kind == "video" else _MUSIC_SECONDS
    return Started(f"ai-studio|{accepted.name}", poll_after_seconds=20, seconds=seconds)


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
    """Ask for the operation."""
    url, headers = _operation(task.task_id, key)
    operation = parse(_Operation, get(url, headers, timeout_seconds))
    if not operation.done:
        return Pending()
    if operation.error:
        raise task_failed("google", operation.error.message, operation.error.status, key)
    if task.kind == "video":
        return Finished(_video(operation.response.generateVideoResponse, headers, key))
    return Finished(_music(operation.response))


def _body(order: Order) -> dict[str, Any]:
    if order.model.kind == "video":
        return {
            "instances": [{"prompt": order.prompt}],
            "parameters": {
                "durationSeconds": _VIDEO_SECONDS,
                "aspectRatio": order.wishes.aspect_ratio or "16:9",
            },
        }
    if order.wishes.named:
        raise GiveUp("provider.invalid_request", "Google's music takes no wishes")
    return {"instances": [{"text": order.prompt}], "parameters": {"durationSeconds": _MUSIC_SECONDS}}


def _operation(task_id: str, key: str) -> tuple[str, dict[str, str]]:
    """Where an operation is asked for, and with which header."""
    tagged = _TAGGED.fullmatch(task_id)
    name = tagged["name"] if tagged else task_id
    if not _NAME.fullmatch(name):
        raise GiveUp("provider.task_malformed", "the task id names no operation")
    region = tagged["region"] if tagged else ("us-central1" if name.startswith("projects/") else None)
    if region is None:
        return f"{settings().google_base_url.rstrip('/')}/v1beta/{name}", {"x-goog-api-key": key}
    regional = settings().google_vertex_base_url.replace("//aiplatform.", f"//{region}-aiplatform.")
    return f"{regional}/v1/{name}", bearer(key)


def _video(videos: _Videos, headers: dict[str, str], key: str) -> Media:
    if videos.generatedSamples:
        # Google's own links want the key again.
        uri = videos.generatedSamples[0].video.uri
        wants_key = uri.startswith(f"{settings().google_base_url.rstrip('/')}/")
        return Media(
            "video/mp4",
            url=uri,
            duration_seconds=_VIDEO_SECONDS,
            fetch_headers=headers if wants_key else {},
        )
    if videos.raiMediaFilteredReasons:
        raise content_refused("google", "; ".join(videos.raiMediaFilteredReasons), key)
    raise BadReplyError("the operation is done but there is no video in it")


def _music(response: _Response) -> Media:
    for part in (response, *response.predictions):
        encoded = part.audioContent or part.bytesBase64Encoded
        if encoded:
            return decode_media(encoded, part.mimeType)
    raise BadReplyError("the operation is done but there is no music in it")
