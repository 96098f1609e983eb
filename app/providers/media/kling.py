"""Kling's text to video: a task that ends in a URL."""

from __future__ import annotations

import httpx2

from app.errors import GiveUp, JobError, RetryLater
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order, Pending, Started, Task
from app.providers.media.wire import MediaUrl, Seconds, bearer, get, parse, post_json, task_failed, task_id
from app.providers.problem import plain_text
from app.providers.wire import WirePart
from app.redaction import redact
from app.settings import settings

_SECONDS = 5
_NOT_FOUND = 1203

#: Codes in the body of a 200, from Kling's list of error codes; all others mean a request it can't take.
_REFUSALS = {
    1301: "provider.content_refused",
    1101: "provider.quota_exceeded",
    1102: "provider.quota_exceeded",
    1103: "provider.permission_denied",
    _NOT_FOUND: "provider.model_not_found",
}
_BUSY = frozenset({1302, 1303})
_AUTH = range(1000, 1005)


class _Video(WirePart):
    url: MediaUrl
    duration: Seconds = None


class _Result(WirePart):
    videos: tuple[_Video, ...] = ()


class _Data(WirePart):
    task_id: str | None = None
    task_status: str = ""
    task_status_msg: str | None = None
    task_result: _Result | None = None


class _Reply(WirePart):
    code: int
    message: str | None = None
    data: _Data | None = None


HONOURS = frozenset({"duration_seconds", "aspect_ratio"})


def submit(order: Order, key: str, timeout_seconds: float) -> Started:
    """Order one video, of five seconds unless wished otherwise.

    Our reference goes along as Kling's external task id.
    """
    seconds = order.wishes.duration_seconds or _SECONDS
    body = {
        "model_name": order.model.wire_model,
        "prompt": order.prompt,
        "cfg_scale": 0.5,
        "mode": "std",
        "duration": str(seconds),
        "aspect_ratio": order.wishes.aspect_ratio or "16:9",
        "external_task_id": order.reference,
    }
    reply = parse(_Reply, post_json(_url(), body, bearer(key), timeout_seconds))
    if reply.code != 0:
        raise _refusal(reply, key)
    if reply.data is None or not reply.data.task_id:
        raise BadReplyError("there is no task id in it")
    return Started(reply.data.task_id, poll_after_seconds=30, seconds=seconds)


def recover(order: Order, key: str, timeout_seconds: float) -> Started | None:
    """Ask for the task by our reference, which Kling keeps unique: a second order of it would be refused."""
    try:
        reply = parse(_Reply, get(f"{_url()}/{task_id(order.reference)}", bearer(key), timeout_seconds))
    except httpx2.HTTPStatusError as error:
        if error.response.status_code == 404:
            return None
        raise
    if reply.code == _NOT_FOUND:
        return None
    if reply.code != 0:
        raise _refusal(reply, key)
    if reply.data is None or not reply.data.task_id:
        raise BadReplyError("there is no task id in it")
    seconds = order.wishes.duration_seconds or _SECONDS
    return Started(reply.data.task_id, poll_after_seconds=5, seconds=seconds)


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:
    """Ask for the task's status."""
    reply = parse(_Reply, get(f"{_url()}/{task_id(task.task_id)}", bearer(key), timeout_seconds))
    if reply.code != 0:
        raise _refusal(reply, key)
    data = reply.data or _Data()
    if data.task_status == "failed":
        raise task_failed("kling", data.task_status_msg or "no reason given", "", key)
    if data.task_status not in {"succeed", "succeeded"}:
        return Pending()
    if data.task_result is None or not data.task_result.videos:
        raise BadReplyError("the task is done but there is no video in it")
    video = data.task_result.videos[0]
    return Finished(Media("video/mp4", url=video.url, duration_seconds=video.duration))


def _refusal(reply: _Reply, key: str) -> JobError:
    said = redact(plain_text(reply.message)[:200], key) or f"code {reply.code}"
    if reply.code in _BUSY:
        return RetryLater("provider.rate_limited", f"Kling is rate-limiting requests: {said}")
    if reply.code >= 5000:
        return RetryLater("provider.unavailable", f"Kling is not available: {said}")
    if reply.code in _AUTH:
        return GiveUp("provider.auth_failed", f"Kling did not accept the API key: {said}")
    code = _REFUSALS.get(reply.code, "provider.invalid_request")
    return GiveUp(code, f"Kling rejected the request: {said}")


def _url() -> str:
    return f"{settings().kling_base_url.rstrip('/')}/v1/videos/text2video"
