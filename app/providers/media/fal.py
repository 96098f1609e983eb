"""fal's queue, through its own client, whose every request goes over this process's shared transport.

The client would retry the paid POST up to ten times, replay it with the key to a second domain, and wait
without a total deadline; with this transport under it it can do none of these.
"""

from __future__ import annotations

from typing import Any

import fal_client
import fal_client.client
import httpx
import httpx2
from pydantic import Field

from app.errors import GiveUp
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order, Pending, Started, Task
from app.providers.media.wire import MediaUrl, Pixels, Seconds, parse, segment, task_failed, task_id
from app.providers.transport import http_client
from app.providers.wire import WirePart
from app.settings import settings

# The client has no switch for its retries but this constant.
fal_client.client.MAX_ATTEMPTS = 1


class _File(WirePart):
    url: MediaUrl
    content_type: str | None = None
    width: Pixels = None
    height: Pixels = None
    duration: Seconds = None


class _Output(WirePart):
    """The shapes in which fal's models answer."""

    images: tuple[_File, ...] = ()
    image: _File | None = None
    video: _File | None = None
    audio: _File | None = None
    audio_file: _File | None = None
    audio_url: MediaUrl | _File | None = Field(default=None)


class _Status(WirePart):
    status: str
    error: str | None = None
    error_type: str | None = None


class _Detail(WirePart):
    type: str = ""
    msg: str = "no reason given"


class _Problem(WirePart):
    """Why a request that was completed has no output."""

    detail: list[_Detail] | str = "no reason given"

    @property
    def first(self) -> _Detail:
        """The first reason."""
        if isinstance(self.detail, str):
            return _Detail(msg=self.detail)
        return next(iter(self.detail), _Detail())


#: What fal's models call the wishes; each takes those that it knows and refuses the request otherwise.
_NAMES = {
    "aspect_ratio": "aspect_ratio",
    "quality": "quality",
    "style": "style",
    "voice": "voice",
    "audio_format": "format",
    "duration_seconds": "duration",
    "scale": "scale",
}

HONOURS = frozenset({*_NAMES, "width", "height"})
TAKES_SOURCE = True


def submit(order: Order, key: str, timeout_seconds: float) -> Started:
    """Put one request into the model's queue."""
    model = _application(order.model.wire_model)
    try:
        handle = _client(key, timeout_seconds).submit(model, _arguments(order))
        return Started(
            task_id(handle.request_id), poll_after_seconds=5, seconds=order.wishes.duration_seconds
        )
    except fal_client.FalClientHTTPError as error:
        response = _shared(error.response)
        raise httpx2.HTTPStatusError("refused", request=response.request, response=response) from None
    except (KeyError, TypeError):
        raise BadReplyError("there is no request id in it") from None


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
    """Ask for the request's status, and for its output once it is completed."""
    client = _client(key, timeout_seconds)
    handle = client.get_handle(_application(task.wire_model), task_id(task.task_id))
    http = client._client
    status = parse(_Status, _shared(http.get(handle.status_url)).raise_for_status())
    if status.status in {"FAILED", "CANCELED", "CANCELLED"} or status.error:
        raise task_failed("fal", status.error or status.status, status.error_type or "", key)
    if status.status != "COMPLETED":
        return Pending()
    response = _shared(http.get(handle.response_url))
    if response.status_code == 422:
        problem = parse(_Problem, response).first
        raise task_failed("fal", problem.msg, problem.type, key)
    return Finished(_media(parse(_Output, response.raise_for_status())))


def _media(output: _Output) -> Media:
    if output.images or output.image:
        return _file(output.images[0] if output.images else output.image, "image/png")
    if output.video:
        return _file(output.video, "video/mp4")
    audio = output.audio or output.audio_file or output.audio_url
    if isinstance(audio, str):
        return Media("audio/mpeg", url=audio)
    return _file(audio, "audio/mpeg")


def _file(file: _File | None, mime: str) -> Media:
    if file is None:
        raise BadReplyError("there is no medium in the output")
    return Media(
        file.content_type or mime,
        url=file.url,
        width=file.width,
        height=file.height,
        duration_seconds=file.duration,
    )


def _arguments(order: Order) -> dict[str, Any]:
    wishes = order.wishes.model_dump(exclude_none=True)
    arguments: dict[str, Any] = {"prompt": order.prompt} if order.prompt else {}
    arguments |= {_NAMES[name]: value for name, value in wishes.items() if name in _NAMES}
    if order.wishes.width or order.wishes.height:
        width, height = order.wishes.width, order.wishes.height
        arguments["image_size"] = {"width": width or height, "height": height or width}
    if order.source is not None:
        arguments[f"{order.source.kind}_url"] = order.source.data_uri
    return arguments


def _application(model: str) -> str:
    """A model id that fal's client can make a path of."""
    parts = model.split("/")
    if len(parts) < 2:
        raise GiveUp("provider.model_not_found", f"{model!r} is not one of fal's, which are owner/name")
    return "/".join(segment(part) for part in parts)


class _SharedTransport(httpx.BaseTransport):
    """Sends the client's requests over the shared HTTP client, and to fal's queue only."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request to the configured queue, whatever host the client thought of."""
        response = http_client().request(
            request.method,
            settings().fal_base_url.rstrip("/") + request.url.raw_path.decode("ascii"),
            content=request.read(),
            headers={
                name: request.headers[name]
                for name in ("authorization", "content-type", "user-agent")
                if name in request.headers
            },
            timeout=self._timeout_seconds,
        )
        return httpx.Response(
            response.status_code,
            headers={"content-type": response.headers.get("content-type", "")}
            | {name: value for name, value in response.headers.items() if name.startswith("retry-after")},
            content=response.content,
            request=request,
        )


def _client(key: str, timeout_seconds: float) -> Any:
    """A client for one call: the key belongs to it alone, the connections to everyone."""
    client = fal_client.SyncClient(key=key, default_timeout=timeout_seconds)
    client.__dict__["_client"] = httpx.Client(
        transport=_SharedTransport(timeout_seconds),
        headers={"Authorization": f"Key {key}", "User-Agent": "lf-worker"},
        trust_env=False,
    )
    return client


def _shared(response: httpx.Response) -> httpx2.Response:
    """A response in the terms of the shared client, so that it is judged like all others."""
    return httpx2.Response(
        response.status_code,
        headers=dict(response.headers),
        content=response.content,
        request=httpx2.Request("GET", str(response.request.url.copy_with(query=None))),
    )
