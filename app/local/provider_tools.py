"""What the local provider server does besides answering and making media: it moderates, embeds, transcribes.

A text with the word `forbidden` in it is flagged. Texts are close whose words are the same.
"""

from __future__ import annotations

import math
import re
import zlib
from urllib.parse import unquote

from app.local.provider_wire import Json, Question, Wire

#: Length of a vector where the request names none.
DIMENSIONS = 64

#: Between texts that came in one request.
_SEPARATOR = "\x1e"


def _plain_error(_status: int, code: str, message: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _google_error(status: int, code: str, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": code.upper()}}


def _read_inputs(body: Json, _model_in_path: str) -> Question:
    return Question(body["model"], _SEPARATOR.join(body["input"]), None)


def _read_requests(body: Json, model_in_path: str) -> Question:
    texts = [request["content"]["parts"][0]["text"] for request in body["requests"]]
    return Question(unquote(model_in_path), _SEPARATOR.join(texts), None)


def _read_recording(body: Json, _model_in_path: str) -> Question:
    return Question(body["model"], f"a recording of {len(body['file'])} characters", body.get("language"))


def _moderation(question: Question, _text: str, _finish: str) -> Json:
    flags = ["forbidden" in text for text in question.prompt.split(_SEPARATOR)]
    results = [
        {
            "flagged": flag,
            "categories": {"violence": flag, "hate": False},
            "category_scores": {"violence": float(flag), "hate": 0.0},
        }
        for flag in flags
    ]
    return {"id": "modr-local", "model": question.model, "results": results}


def vector_of(text: str) -> list[float]:
    """A unit vector that counts the words of a text."""
    counts = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        counts[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    length = math.sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]


def _embeddings(question: Question, _text: str, _finish: str) -> Json:
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(text)}
        for index, text in enumerate(question.prompt.split(_SEPARATOR))
    ]
    tokens = len(question.prompt.split())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data[::-1], "model": question.model, "usage": usage}


def _google_embeddings(question: Question, _text: str, _finish: str) -> Json:
    vectors = [{"values": vector_of(text)} for text in question.prompt.split(_SEPARATOR)]
    return {"embeddings": vectors, "usageMetadata": {"promptTokenCount": len(question.prompt.split())}}


def _transcript(_question: Question, text: str, _finish: str) -> Json:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
    return {"text": text, "usage": usage}


TOOLS = (
    Wire("openai", re.compile(r"/openai/v1/moderations"), _read_inputs, _moderation, _plain_error, "id"),
    Wire("openai", re.compile(r"/openai/v1/embeddings"), _read_inputs, _embeddings, _plain_error, "usage"),
    Wire(
        "openai",
        re.compile(r"/openai/v1/audio/transcriptions"),
        _read_recording,
        _transcript,
        _plain_error,
        "usage",
    ),
    Wire(
        "google",
        re.compile(r"/google/v1beta/models/(?P<model>[^/]+):batchEmbedContents"),
        _read_requests,
        _google_embeddings,
        _google_error,
        "embeddings",
    ),
)
