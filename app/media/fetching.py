"""Fetching a finished medium from the URL that a provider gave: guarded, bounded, within a deadline."""

from __future__ import annotations

import time
from urllib.parse import urljoin, urlsplit

from app.errors import GiveUp, RetryLater
from app.http import OutboundFailedError, OutboundRefusedError, Response, guarded_client
from app.providers.media import Media
from app.settings import settings

#: Content networks redirect once or twice; each hop is checked like the first.
MAX_REDIRECTS = 4


def fetch(media: Media, *, max_bytes: int) -> bytes:
    """The medium's content.

    Raises GiveUp for a URL that must not be visited and for a medium that is too large, RetryLater for
    everything that may be better next time; a link that has expired may be renewed by the next poll.
    """
    if media.content is not None:
        return _checked(media.content, len(media.content) > max_bytes, max_bytes)
    assert media.url is not None, "a medium has content or a URL"
    url, headers = media.url, dict(media.fetch_headers)
    deadline = time.monotonic() + settings().media_transfer_timeout_ms / 1000
    for _ in range(MAX_REDIRECTS + 1):
        response = _get(url, headers, deadline - time.monotonic(), max_bytes)
        if response.location is None:
            break
        onward = urljoin(url, response.location)
        if _origin(onward) != _origin(url):
            headers = {}
        url = onward
    if response.status != 200:
        raise RetryLater("media.download_failed", f"the medium's URL answered with status {response.status}")
    return _checked(response.body, response.is_truncated, max_bytes)


def _get(url: str, headers: dict[str, str], left_seconds: float, max_bytes: int) -> Response:
    if left_seconds <= 0:
        raise RetryLater("media.download_failed", "the medium did not come within the deadline")
    try:
        return guarded_client().request(
            "GET", url, headers=headers, deadline_seconds=left_seconds, max_response_bytes=max_bytes
        )
    except OutboundRefusedError as error:
        raise GiveUp("media.url_refused", f"the medium's URL must not be visited: {error.message}") from None
    except OutboundFailedError as error:
        raise RetryLater("media.download_failed", f"the medium can't be fetched: {error.message}") from None


def _checked(content: bytes, is_more: bool, max_bytes: int) -> bytes:
    if is_more:
        raise GiveUp("media.too_large", f"the medium is larger than {max_bytes} bytes")
    if not content:
        raise RetryLater("media.download_failed", "the medium is empty")
    return content


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
