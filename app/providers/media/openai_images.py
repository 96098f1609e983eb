"""OpenAI's image generation: the answer is the image."""

from __future__ import annotations

from typing import Any

from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import MediaUrl, bearer, decode_media, parse, post_json
from app.providers.wire import WirePart
from app.settings import settings

_MIME = "image/png"


class _Image(WirePart):
    url: MediaUrl | None = None
    b64_json: str | None = None


class _Images(WirePart):
    data: list[_Image]


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Ask for one image."""
    body = _body(order.model.wire_model, order.prompt)
    url = f"{settings().openai_base_url.rstrip('/')}/images/generations"
    images = parse(_Images, post_json(url, body, bearer(key), timeout_seconds)).data
    width, height = (int(pixels) for pixels in body["size"].split("x"))
    if images and images[0].url:
        return Finished(Media(_MIME, url=images[0].url, width=width, height=height))
    if images and images[0].b64_json:
        return Finished(decode_media(images[0].b64_json, _MIME, width=width, height=height))
    raise BadReplyError("there is no image in it")


def _body(model: str, prompt: str) -> dict[str, Any]:
    """The defaults of each generation of models; only the older two can answer with a URL."""
    body: dict[str, Any] = {"model": model, "prompt": prompt, "n": 1}
    if model.startswith("dall-e-2"):
        return {**body, "size": "256x256", "response_format": "url"}
    if model.startswith("dall-e-3"):
        return {**body, "size": "1024x1024", "quality": "standard", "response_format": "url"}
    return {**body, "size": "1024x1024", "quality": "auto"}
