"""OpenAI's image generation: the answer is the image."""

from __future__ import annotations

from typing import Annotated, Any

import httpx2

from app.errors import GiveUp
from app.providers.base import BadReplyError, File
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import MediaUrl, bearer, decode_media, parse, post_json
from app.providers.transport import http_client
from app.providers.wire import Count, Lenient, WirePart
from app.settings import settings

_MIME = "image/png"


class _Image(WirePart):
    url: MediaUrl | None = None
    b64_json: str | None = None


class _Usage(WirePart):
    input_tokens: Count = 0
    output_tokens: Count = 0


class _Images(WirePart):
    """DALL-E's come without usage: they are priced by the piece."""

    data: list[_Image]
    usage: Annotated[_Usage, Lenient] = _Usage()


HONOURS = frozenset({"width", "height", "quality", "style"})
TAKES_SOURCE = True


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Ask for one image, made of another where there is a source."""
    body = _body(order)
    url = f"{settings().openai_base_url.rstrip('/')}/images"
    if order.source is None:
        response = post_json(f"{url}/generations", body, bearer(key), timeout_seconds)
    else:
        response = _edit(f"{url}/edits", body, order.source, key, timeout_seconds)
    reply = parse(_Images, response)
    width, height = (int(pixels) for pixels in body["size"].split("x"))
    image = reply.data[0] if reply.data else _Image()
    if image.url:
        media = Media(_MIME, url=image.url, width=width, height=height)
    elif image.b64_json:
        media = decode_media(image.b64_json, _MIME, width=width, height=height)
    else:
        raise BadReplyError("there is no image in it")
    return Finished(media, reply.usage.input_tokens, reply.usage.output_tokens)


def _edit(url: str, body: dict[str, Any], source: File, key: str, timeout_seconds: float) -> httpx2.Response:
    if str(body["model"]).startswith("dall-e"):
        raise GiveUp("provider.invalid_request", "OpenAI's DALL-E models change no images without a mask")
    extension = source.mime.partition("/")[2]
    response = http_client().post(
        url,
        data={name: str(value) for name, value in body.items()},
        files={"image": (f"source.{extension}", source.content, source.mime)},
        headers=bearer(key),
        timeout=timeout_seconds,
    )
    return response.raise_for_status()


def _body(order: Order) -> dict[str, Any]:
    """The defaults of each generation of models; only the older two can answer with a URL."""
    model, wishes = order.model.wire_model, order.wishes
    body: dict[str, Any] = {"model": model, "prompt": order.prompt, "n": 1}
    if model.startswith("dall-e-2"):
        body |= {"size": "256x256", "response_format": "url"}
    elif model.startswith("dall-e-3"):
        body |= {"size": "1024x1024", "quality": "standard", "response_format": "url"}
    else:
        body |= {"size": "1024x1024", "quality": "auto"}
    if wishes.width or wishes.height:
        body["size"] = f"{wishes.width or wishes.height}x{wishes.height or wishes.width}"
    wanted = {"quality": wishes.quality, "style": wishes.style}
    return body | {name: value for name, value in wanted.items() if value}
