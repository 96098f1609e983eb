"""Stability AI's image generation: the answer is the image."""

from __future__ import annotations

from app.errors import GiveUp
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import bearer
from app.providers.transport import http_client
from app.settings import settings


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Ask for one square PNG."""
    model = order.model.wire_model
    service = model if model in {"core", "ultra"} else "sd3"
    fields = {"prompt": order.prompt, "output_format": "png", "aspect_ratio": "1:1"}
    if service == "sd3":
        fields["model"] = model
    response = http_client().post(
        f"{settings().stability_base_url.rstrip('/')}/v2beta/stable-image/generate/{service}",
        # Parts without a file name are how the API wants its fields.
        files={name: (None, value.encode()) for name, value in fields.items()},
        headers={**bearer(key), "Accept": "image/*"},
        timeout=timeout_seconds,
    )
    response.raise_for_status()
    if response.headers.get("finish-reason") == "CONTENT_FILTERED":
        raise GiveUp("provider.content_refused", "Stability AI refused the content: the image was filtered")
    mime = response.headers.get("content-type", "").partition(";")[0].strip()
    if not mime.startswith("image/") or not response.content:
        raise BadReplyError("there is no image in it")
    return Finished(Media(mime, content=response.content))
