"""OpenAI's transcription: what is said in a recording."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import SecretStr

from app.calls import Call
from app.errors import GiveUp
from app.providers.attempts import call_once
from app.providers.base import File, Model
from app.providers.ceilings import ceiling_of_recording
from app.providers.media.wire import Seconds, bearer, parse
from app.providers.transport import http_client
from app.providers.wire import Count, Lenient, WirePart
from app.settings import settings

#: The model where nobody names one.
DEFAULT_MODEL = Model("whisper-1", "openai", "whisper-1", "text")

#: Largest recording that the API takes.
MAX_BYTES = 25 * 1024 * 1024

#: The API goes by the name's extension.
_EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/webm": "webm",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


@dataclass(frozen=True)
class Transcript:
    """The words; `language` and `duration_seconds` where the model tells them."""

    text: str
    tokens_in: int
    tokens_out: int
    latency_ms: int
    language: str | None
    duration_seconds: float | None


class _Usage(WirePart):
    """Tokens or seconds, as the model is priced."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    seconds: Seconds = None


class _Reply(WirePart):
    text: str
    language: str | None = None
    duration: Seconds = None
    usage: Annotated[_Usage, Lenient] = _Usage()


def transcribe(
    model: Model, recording: File, *, key: SecretStr, deadline_seconds: float, language: str | None = None
) -> Transcript:
    """Write down what is said; raises `RetryLater` and `GiveUp`, for what the API doesn't take too."""
    if model.provider != "openai":
        raise GiveUp("provider.modality_unsupported", f"the worker can't have {model.provider!r} transcribe")
    extension = _EXTENSIONS.get(recording.mime)
    if extension is None:
        raise GiveUp("media.wrong_type", f"{recording.mime} can't be transcribed")
    if len(recording.content) > MAX_BYTES:
        raise GiveUp("media.too_large", f"a recording of more than {MAX_BYTES} bytes can't be transcribed")
    fields = {
        "model": model.wire_model,
        "response_format": "json",
        **({"language": language} if language else {}),
    }

    def ask(secret: str, call: Call) -> _Reply:
        response = http_client().post(
            f"{settings().openai_base_url.rstrip('/')}/audio/transcriptions",
            data=fields,
            files={"file": (f"recording.{extension}", recording.content, recording.mime)},
            headers=bearer(secret),
            timeout=deadline_seconds,
        )
        reply = parse(_Reply, response.raise_for_status())
        call.tokens_in, call.tokens_out = reply.usage.input_tokens, reply.usage.output_tokens
        call.units, call.seconds = 1, reply.usage.seconds or reply.duration
        return reply

    ceiling = partial(ceiling_of_recording, recording)
    reply, call = call_once("openai", model.key, key, deadline_seconds, ask, ceiling=ceiling)
    return Transcript(
        text=reply.text.replace("\x00", ""),
        tokens_in=call.tokens_in,
        tokens_out=call.tokens_out,
        latency_ms=call.duration_ms,
        language=reply.language,
        duration_seconds=reply.duration,
    )
