"""Getting a medium that somebody names by a URL: our own from Storage, others guarded from the net."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from uuid import UUID

from app.database import Database
from app.errors import GiveUp
from app.media.fetching import fetch
from app.media.sniffing import mime_of
from app.platform import storage
from app.platform.node_media import may_read
from app.providers import File
from app.providers.media import Media
from app.settings import settings


def load(database: Database, url: str, owner_lenser_id: UUID, kinds: Collection[str]) -> File:
    """The file at a URL, which must be of one of these kinds.

    A file of our Storage is only read for whoever owns it. Raises `GiveUp` and `RetryLater`.
    """
    content = _content_of(database, url.strip(), owner_lenser_id)
    mime = mime_of(content)
    if mime is None or mime.partition("/")[0] not in kinds:
        raise GiveUp("media.wrong_type", f"{mime or 'something unknown'} is not {' or '.join(sorted(kinds))}")
    return File(mime, content)


def _content_of(database: Database, url: str, owner_lenser_id: UUID) -> bytes:
    max_bytes = settings().media_max_bytes
    if url.startswith("data:"):
        return _decoded(url, max_bytes)
    place = storage.place_of(settings(), url)
    if place is None:
        return fetch(Media("", url=url), max_bytes=max_bytes)
    bucket, object_key = place
    if not may_read(database, owner_lenser_id, url, bucket, object_key):
        raise GiveUp("media.url_refused", "the medium belongs to somebody else")
    return storage.download(settings(), bucket, object_key, max_bytes=max_bytes).content


def _decoded(url: str, max_bytes: int) -> bytes:
    head, _, encoded = url.partition(",")
    if len(encoded) > max_bytes * 4 // 3 + 4:
        raise GiveUp("media.too_large", f"the medium is larger than {max_bytes} bytes")
    try:
        if not head.endswith(";base64"):
            raise ValueError("not base64")
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise GiveUp("media.url_refused", "the data URI can't be read") from None
