"""ElevenLabs' text to speech: the answer is the audio."""

from __future__ import annotations

from app.errors import GiveUp
from app.providers.base import BadReplyError
from app.providers.media.base import Finished, Media, Order
from app.providers.media.wire import post_json, segment
from app.settings import settings

#: The voice that the platform speaks with where nobody chose one.
VOICE = "21m00Tcm4TlvDq8ikWAM"

HONOURS = frozenset({"voice", "audio_format"})

#: The API's names of what it puts into a file that players know; its other formats are bare samples.
_FORMATS = {"mp3": "mp3_44100_128", "opus": "opus_48000_128"}

#: 128 kbit/s throughout, so that the size tells how long the audio is.
_MP3_BYTES_PER_SECOND = 16_000


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:
    """Have the prompt spoken, as MP3 unless something else is wished for."""
    wanted = order.wishes.audio_format or "mp3"
    if wanted not in _FORMATS:
        raise GiveUp("provider.invalid_request", f"ElevenLabs makes {' or '.join(_FORMATS)}, not {wanted!r}")
    voice = segment(order.wishes.voice or VOICE)
    url = (
        f"{settings().elevenlabs_base_url.rstrip('/')}/v1/text-to-speech/{voice}"
        f"?output_format={_FORMATS[wanted]}"
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
    seconds = round(len(response.content) / _MP3_BYTES_PER_SECOND, 3) if wanted == "mp3" else None
    return Finished(Media(mime, content=response.content, duration_seconds=seconds))
