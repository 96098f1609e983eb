"""Keeping a finished medium: in Supabase Storage where it is set up, since providers' URLs expire.

Without it the provider's URL is kept as it is, and a medium that came without one as a data URI.
"""

from __future__ import annotations

import base64

from app.errors import GiveUp
from app.media.fetching import fetch
from app.media.sniffing import check_kind, mime_of
from app.platform import storage
from app.platform.media import Place, Stored
from app.providers.media import Media
from app.providers.media.echo import ECHO_MIME
from app.settings import settings


def keep(media: Media, kind: str, place: Place) -> Stored:
    """Check a medium and keep it; raises GiveUp for what is no such medium, RetryLater when storing fails."""
    if not storage.is_configured(settings()):
        return keep_link(media, kind)
    content = fetch(media, max_bytes=min(settings().media_max_bytes, place.max_bytes))
    mime = _checked_mime(content, media.mime, kind)
    object_key = place.object_key(mime)
    storage.upload(settings(), place.bucket, object_key, content, mime)
    url = storage.object_url(settings(), place.bucket, object_key)
    return _stored(media, kind, url, mime, len(content), place.bucket, object_key)


def keep_link(media: Media, kind: str) -> Stored:
    """Keep the provider's URL, or a small medium itself as a data URI; raises GiveUp for a larger one."""
    if media.url is not None:
        return _stored(media, kind, media.url, check_kind(media.mime, kind), None)
    content = media.content or b""
    mime = _checked_mime(content, media.mime, kind)
    limit = settings().media_inline_max_bytes
    if len(content) > limit:
        raise GiveUp(
            "media.nowhere_to_store",
            f"the medium has {len(content)} bytes and no URL; without Supabase Storage {limit} can be kept",
        )
    url = f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
    return _stored(media, kind, url, mime, len(content))


def _checked_mime(content: bytes, said: str, kind: str) -> str:
    if said == ECHO_MIME and settings().echo_provider:
        return said
    return check_kind(mime_of(content), kind)


def _stored(
    media: Media,
    kind: str,
    url: str,
    mime: str,
    size_bytes: int | None,
    bucket: str | None = None,
    object_key: str | None = None,
) -> Stored:
    return Stored(
        url=url,
        mime=mime,
        modality=kind,
        bytes_count=size_bytes,
        bucket=bucket,
        object_key=object_key,
        width=media.width,
        height=media.height,
        duration_seconds=media.duration_seconds,
    )
