"""Stability AI's image generation: the answer is the image."""

from __future__ import annotations

from app.errors import GiveUp
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import bearer
from app.providers.transport import http_client
from app.settings import settings

HONOURS = frozenset({"aspect_ratio", "style"})
TAKES_SOURCE = True

#: How far an image made of another may go away from it, 0 to 1.
STRENGTH = "0.6"


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Ask for one PNG, square unless wished otherwise, or of the shape of its source."""
    model = order.model.wire_model
    service = model if model in {"core", "ultra"} else "sd3"
    response = http_client().post(
        f"{settings().stability_base_url.rstrip('/')}/v2beta/stable-image/generate/{service}",
        files=_parts(order, service),
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


def _parts(order: Order, service: str) -> dict[str, tuple[str | None, bytes]]:
    fields = {"prompt": order.prompt, "output_format": "png"}
    if order.source is None:
        fields["aspect_ratio"] = order.wishes.aspect_ratio or "1:1"
    elif service == "core" or order.wishes.aspect_ratio:
        raise GiveUp("provider.invalid_request", "Stability AI's model can't change the image in this way")
    else:
        fields |= {"strength": STRENGTH, **({"mode": "image-to-image"} if service == "sd3" else {})}
    if service == "sd3":
        fields["model"] = order.model.wire_model
    if order.wishes.style:
        fields["style_preset"] = order.wishes.style
    # Parts without a file name are how the API wants its fields.
    parts: dict[str, tuple[str | None, bytes]] = {
        name: (None, value.encode()) for name, value in fields.items()
    }
    return parts if order.source is None else {**parts, "image": ("source", order.source.content)}
