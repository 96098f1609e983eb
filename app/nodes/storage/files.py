"""Files of a workflow in Supabase Storage."""

from __future__ import annotations

import mimetypes
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from app.errors import GiveUp
from app.nodes.pasted import Url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.storage.contents import Content, decoded, fetched, part_of, text_of, written
from app.nodes.storage.object_keys import check_key, check_template, expand, folder_of, standing_names
from app.nodes.task import Task
from app.platform import storage
from app.settings import settings
from app.texts.json_text import parse_json
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

_MEDIA = ("image", "video", "audio")


class Place(NodeSettings):
    """Where a file lies; keys are below the workflow's own folder and may have `{{placeholders}}`."""

    bucket: str = Field(default="", validation_alias=spelled("bucket", "destination"))
    object_key: str = Field(
        default="{{runId}}/{{nodeId}}.json",
        validation_alias=spelled("objectKey", "objectKeyTemplate", "key", "path"),
    )
    #: How long the URL in the output is good.
    url_seconds: int = Field(
        default=3600, ge=60, le=604_800, validation_alias=spelled("urlSeconds", "expiresIn")
    )

    @field_validator("object_key")
    @classmethod
    def _is_key(cls, key: str) -> str:
        return check_template(key)


class FileWrite(Place):
    """The settings of `file_writer`; without `content` it is the upstream's data, or a part of it."""

    content: JsonValue = None
    content_path: str = "$"
    content_type: str = Field(default="", max_length=128)


class Upload(FileWrite):
    """The settings of `object_storage_upload`; `source_url` names a file of somebody else's to be copied."""

    source_url: Url = ""
    encoding: Literal["text", "base64"] = "text"


class Download(Place):
    """The settings of `object_storage_download`."""

    object_key: str = Field(validation_alias=spelled("objectKey", "objectKeyTemplate", "key", "path"))


def _is_possible(place: Place) -> str | None:
    if not storage.is_configured(settings()):
        return "Supabase Storage is not set up: it needs SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY"
    if place.bucket and place.bucket not in _buckets():
        return f"bucket is none of {', '.join(_buckets())}"
    return None


_WRITTEN = ("bucket", "objectKey", "url", "sizeBytes", "mimeType")


@node_type("file_writer", config=FileWrite, gives=_WRITTEN, effect=Effect.WRITES, check=_is_possible)
def write_file(task: Task[FileWrite]) -> Output:
    """Write the upstream's data, or a text, into a file; writing it again replaces it."""
    return _put(task, _written(task))


@node_type("object_storage_upload", config=Upload, gives=_WRITTEN, effect=Effect.WRITES, check=_is_possible)
def upload(task: Task[Upload]) -> Output:
    """Put a text, bytes, or a copy of what lies at a URL, into Storage; doing it again replaces it."""
    config = task.config
    given_url = task.given.get("url") if task.given.get("mediaType") in _MEDIA else None
    if config.source_url or (given_url and "content" not in config.model_fields_set):
        return _put(task, fetched(config.source_url or str(given_url), task.timeout_seconds))
    if config.encoding == "base64":
        return _put(task, decoded(str(config.content or task.text)))
    return _put(task, _written(task))


@node_type(
    "object_storage_download",
    config=Download,
    gives=("content", *_WRITTEN),
    effect=Effect.READS,
    check=_is_possible,
)
def download(task: Task[Download]) -> Output:
    """Give a file of the workflow: a text as it is, JSON as data, anything else by its URL."""
    bucket, key = _place(task)
    found = storage.download(settings(), bucket, key, max_bytes=settings().workflow_file_max_bytes)
    url = storage.sign(settings(), bucket, key, lasts_seconds=task.config.url_seconds)
    data = _told(bucket, key, url, len(found.content), found.mime)
    text = text_of(found)
    if text is None:
        media = found.mime.partition("/")[0]
        kind = media if media in _MEDIA else "text"
        return Output(url=url, mime_type=found.mime, media_type=kind, data=data)
    value = parse_json(text)
    return Output(text=text, data={**data, "content": text if value is None else value})


def _put(task: Task[Any], body: Content) -> Output:
    """Store a file and give a URL for it."""
    limit = settings().workflow_file_max_bytes
    if len(body.content) > limit:
        raise NodeFailure(f"file_too_large: a file may have {limit} bytes")
    bucket, key = _place(task)
    mime = task.config.content_type or body.mime or _mime_of(key)
    storage.upload(settings(), bucket, key, body.content, mime)
    url = storage.sign(settings(), bucket, key, lasts_seconds=task.config.url_seconds)
    return Output(text=url, data=_told(bucket, key, url, len(body.content), mime))


def _place(task: Task[Any]) -> tuple[str, str]:
    """Bucket and key of a node's file; the key may be one that an earlier node gave, folder and all."""
    run, folder = task.run, folder_of(task.run.workflow_id)
    names = standing_names(run.workflow_id, run.run_id, task.node_id, run.started_at)
    wanted = expand(task.config.object_key.removeprefix(folder), {**task.work.labels, **names})
    try:
        return task.config.bucket or _buckets()[0], folder + check_key(wanted)
    except ValueError as error:
        raise NodeFailure(f"invalid_config: objectKey: {error}") from None


def _written(task: Task[Any]) -> Content:
    """What the settings say, or what the node was given."""
    config: FileWrite = task.config
    if "content" in config.model_fields_set:
        return written(config.content)
    return written(part_of(task, config.content_path))


def _told(bucket: str, key: str, url: str, size_bytes: int, mime: str) -> JsonObject:
    return {"bucket": bucket, "objectKey": key, "url": url, "sizeBytes": size_bytes, "mimeType": mime}


def _mime_of(key: str) -> str:
    guessed = mimetypes.guess_type(key)[0]
    return guessed or "text/plain; charset=utf-8"


def _buckets() -> list[str]:
    names = [name.strip() for name in settings().workflow_buckets.split(",") if name.strip()]
    if not names:
        raise GiveUp("storage.no_bucket", "no bucket is allowed: WORKER_WORKFLOW_BUCKETS is blank")
    return names
