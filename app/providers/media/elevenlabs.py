"""ElevenLabs' text to speech: the answer is the audio."""

from __future__ import annotations

from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import post_json
from app.settings import settings

#: The voice that the platform speaks with where nobody chose one.
VOICE = "21m00Tcm4TlvDq8ikWAM"


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Have the prompt spoken, as MP3."""
    url = (
        f"{settings().elevenlabs_base_url.rstrip('/')}/v1/text-to-speech/{VOICE}?output_format=mp3_44100_128"
    )
    body = {
        "text": order.prompt,
        "model_id": order.model.wire_model,
        "voice_settings": {"stability": 0.5, "similarity_boost": 0.75},
    }
    response = post_json(url, body, {"xi-api-key": key}, timeout_seconds)
    mime = response.headers.get("content-type", "").partition(";")[0].strip()
    if not mime.startswith("audio/") or not response.content:
        raise BadReplyError("there is no audio in it")
    return Finished(Media(mime, content=response.content))
