"""The wire formats of media that the local provider server speaks: orders, tasks, and their progress.

Written from the providers' API references and from recorded traffic of the platform's own worker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote

from app.local.http.manners import Response
from app.local.media_progress import (
    Item,
    encoded,
    fal_progress,
    kling_progress,
    operation_progress,
    session_progress,
    sora_progress,
    suno_progress,
)
from app.local.media_samples import SAMPLES
from app.local.provider_wire import Json

#: What OpenAI's newer models count for an image.
TOKENS_OF_AN_IMAGE = 4_160


@dataclass(frozen=True)
class MediaWire:
    """One provider's protocol for one kind of output.

    `submit` matches the path of an order and may name the model; `read` finds model, prompt and reference
    in its body; `accept` is the answer to it. Where that is a task, `poll` matches the path (and the query)
    of a question about it and `progress` answers it.
    """

    provider: str
    kind: str
    submit: re.Pattern[str]
    read: Callable[[Json, str], tuple[str, str, str | None]]
    accept: Callable[[Item], Response]
    error: Callable[[int, str, str], Json]
    poll: re.Pattern[str] | None = None
    progress: Callable[[Item, str], Json] | None = None


def read_body(content_type: str, body: bytes) -> Json:
    """The fields of a request, from JSON or a form."""
    if not content_type.startswith("multipart/"):
        content: Json = json.loads(body)
        return content
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    parts: Any = message.get_payload()
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True).decode(
            errors="replace"
        )
        for part in parts
    }


def _json(body: Any) -> Response:
    return Response(200, json.dumps(body).encode())


def _file(item: Item) -> Response:
    mime, _, content = SAMPLES[item.kind]
    return Response(200, content, mime)


def _plain_error(_status: int, code: str, message: str) -> Json:
    return {"error": {"message": message, "type": code, "code": code}}


def _google_error(status: int, code: str, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": code.upper()}}


def _flat_error(_status: int, code: str, message: str) -> Json:
    return {"code": code, "message": message}


def _fal_error(_status: int, code: str, message: str) -> Json:
    return {"detail": message, "error_type": code}


def _openai_image(item: Item) -> Response:
    if item.model.startswith("dall-e"):
        return _json({"created": 1, "data": [{"url": item.file_url}]})
    asked = len(item.prompt.split())
    usage = {
        "input_tokens": asked,
        "output_tokens": TOKENS_OF_AN_IMAGE,
        "total_tokens": asked + TOKENS_OF_AN_IMAGE,
    }
    return _json({"created": 1, "data": [{"b64_json": encoded(item)}], "usage": usage})


def _fal_accept(item: Item) -> Response:
    root = f"https://queue.fal.run/{item.model}/requests/{item.id}"
    return _json(
        {
            "request_id": item.id,
            "response_url": root,
            "status_url": f"{root}/status",
            "cancel_url": f"{root}/cancel",
        }
    )


def _google(kind: str, models: str) -> MediaWire:
    field = "prompt" if kind == "video" else "text"
    return MediaWire(
        "google",
        kind,
        re.compile(rf"/google/v1beta/models/(?P<model>{models}[^/]*):predictLongRunning"),
        lambda body, model: (unquote(model), body["instances"][0][field], None),
        lambda item: _json({"name": f"models/{item.model}/operations/{item.id}"}),
        _google_error,
        re.compile(rf"/google/v1beta/models/{models}[^/]*/operations/(?P<task>[^/]+)"),
        operation_progress,
    )


MEDIA_WIRES = (
    MediaWire(
        "openai",
        "image",
        re.compile(r"/openai/v1/images/(?:generations|edits)"),
        lambda body, _: (body["model"], body["prompt"], None),
        _openai_image,
        _plain_error,
    ),
    MediaWire(
        "openai",
        "video",
        re.compile(r"/openai/v1/video/generations"),
        lambda body, _: (body["model"], body["prompt"], None),
        lambda item: _json({"id": item.id, "status": "queued"}),
        _plain_error,
        re.compile(r"/openai/v1/video/generations/(?P<task>[^/]+)"),
        sora_progress,
    ),
    MediaWire(
        "google",
        "image",
        re.compile(r"/google/v1beta/models/(?P<model>[^/]+):predict"),
        lambda body, model: (unquote(model), body["instances"][0]["prompt"], None),
        lambda item: _json({"predictions": [{"bytesBase64Encoded": encoded(item), "mimeType": "image/png"}]}),
        _google_error,
    ),
    _google("video", "veo"),
    _google("music", "lyria"),
    MediaWire(
        "stability",
        "image",
        re.compile(r"/stability/v2beta/stable-image/generate/(?P<model>sd3|core|ultra)"),
        lambda body, service: (body.get("model", service), body["prompt"], None),
        _file,
        _flat_error,
    ),
    MediaWire(
        "elevenlabs",
        "audio",
        re.compile(r"/elevenlabs/v1/text-to-speech/[A-Za-z0-9]+"),
        lambda body, _: (body["model_id"], body["text"], None),
        _file,
        _fal_error,
    ),
    MediaWire(
        "kling",
        "video",
        re.compile(r"/kling/v1/videos/text2video"),
        lambda body, _: (body["model_name"], body["prompt"], body.get("external_task_id")),
        lambda item: _json({"code": 0, "message": "SUCCEED", "data": {"task_id": item.id}}),
        _flat_error,
        re.compile(r"/kling/v1/videos/text2video/(?P<task>[^/]+)"),
        kling_progress,
    ),
    MediaWire(
        "suno",
        "music",
        re.compile(r"/suno/api/generate"),
        lambda body, _: (body["mv"], body["prompt"], None),
        lambda item: _json({"id": item.id}),
        _flat_error,
        re.compile(r"/suno/api/get\?ids=(?P<task>[^&]+)"),
        suno_progress,
    ),
    MediaWire(
        "fal",
        "image",
        re.compile(r"/fal/(?P<model>[^/]+(?:/[^/?]+)+)"),
        lambda body, model: (unquote(model), body["prompt"], None),
        _fal_accept,
        _fal_error,
        re.compile(r"/fal/[^/]+/[^/]+/requests/(?P<task>[^/?]+)(?P<status>/status)?(\?.*)?"),
        fal_progress,
    ),
    MediaWire(
        "chainabit",
        "text",
        re.compile(r"/chainabit/v1/sessions"),
        lambda body, _: (body["input"]["model_key"], body["prompt"], body["id"]),
        lambda item: _json({"sessionId": item.id}),
        _plain_error,
        re.compile(r"/chainabit/v1/sessions/(?P<task>[^/]+)/result"),
        session_progress,
    ),
)
