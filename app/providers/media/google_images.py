"""Google's Imagen: the answer is the image."""

from __future__ import annotations

from app.providers.media.base import Finished, Order
from app.providers.media.wire import decode_media, parse, post_json, segment
from app.providers.outcomes import content_refused
from app.providers.wire import WirePart
from app.settings import settings


class _Prediction(WirePart):
    bytesBase64Encoded: str | None = None  # noqa: N815  # the wire's name
    mimeType: str = "image/png"  # noqa: N815  # the wire's name
    raiFilteredReason: str | None = None  # noqa: N815  # the wire's name


class _Predictions(WirePart):
    predictions: tuple[_Prediction, ...] = ()


HONOURS = frozenset({"aspect_ratio"})


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Ask for one image, square unless wished otherwise; without one, the filters took it."""
    url = f"{settings().google_base_url.rstrip('/')}/v1beta/models/{segment(order.model.wire_model)}:predict"
    body = {
        "instances": [{"prompt": order.prompt}],
        "parameters": {"sampleCount": 1, "aspectRatio": order.wishes.aspect_ratio or "1:1"},
    }
    response = post_json(url, body, {"x-goog-api-key": key}, timeout_seconds)
    predictions = parse(_Predictions, response).predictions
    for prediction in predictions:
        if prediction.bytesBase64Encoded:
            return Finished(decode_media(prediction.bytesBase64Encoded, prediction.mimeType))
    told = (prediction.raiFilteredReason for prediction in predictions)
    raise content_refused("google", next(filter(None, told), "no image came through its filters"), key)
