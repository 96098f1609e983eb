"""The wire formats that the local provider server speaks: what a request says, what an answer looks like.

Written from the providers' API references and from recorded traffic of their SDKs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from app.local.provider_usage import (
    Used,
    anthropic_usage,
    deepseek_usage,
    google_usage,
    ollama_usage,
    openai_usage,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What a request asks: the model by its wire name, the prompt, and the system message if any.

    `used` is what its answer says to have taken, where that is not simply the words.
    """

    model: str
    prompt: str
    system: str | None
    used: Used | None = None


@dataclass(frozen=True)
class Wire:
    """One provider's protocol.

    `path` matches the request's path and may name the model; `answer(model, text, finish)` builds the body
    of a 200, where finish is `stop`, `length` or `refused`; `error(status, code, message)` that of a failure.
    """

    provider: str
    path: re.Pattern[str]
    read: Callable[[Json, str], Question]
    answer: Callable[[Question, str, str], Json]
    error: Callable[[int, str, str], Json]
    usage_field: str
    needs_key: bool = True


def key_of(headers: Mapping[str, str]) -> str:
    """The API key of a request, whichever header carries it; blank if none does."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ").removeprefix("Key ").strip()
    named = (headers.get(name) for name in ("x-api-key", "x-goog-api-key", "xi-api-key", "x-partner-key"))
    return next(filter(None, named), bearer)


def _used(question: Question, text: str, thought: int = 0) -> Used:
    """One token a word, the first of which the cache had."""
    asked, said = len(f"{question.system or ''} {question.prompt}".split()), len(text.split())
    cached = min(asked, 1)
    return question.used or Used(fresh=asked - cached, cached=cached, thought=thought, said=said)


def _text_of(content: str | list[Json]) -> str:
    """The text of a message, which may have pictures beside it."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _read_messages(body: Json, _model_in_path: str) -> Question:
    by_role = {message["role"]: _text_of(message["content"]) for message in body["messages"]}
    return Question(body["model"], by_role["user"], by_role.get("system", body.get("system")))


def _read_contents(body: Json, model_in_path: str) -> Question:
    instruction = body.get("systemInstruction", body.get("system_instruction"))
    system = "".join(part["text"] for part in instruction["parts"]) if instruction else None
    prompt = "".join(part.get("text", "") for part in body["contents"][-1]["parts"])
    return Question(unquote(model_in_path), prompt, system)


def _completion(usage: Callable[[Used], Json], question: Question, text: str, finish: str) -> Json:
    refusal = "I can't help with that." if finish == "refused" else None
    return {
        "id": "chatcmpl-local",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": question.model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if refusal else text,
                    "refusal": refusal,
                },
                "finish_reason": "content_filter" if refusal else finish,
            }
        ],
        "usage": usage(_used(question, text)),
    }


def _message(question: Question, text: str, finish: str) -> Json:
    reasons = {"stop": "end_turn", "length": "max_tokens", "refused": "refusal"}
    return {
        "id": "msg_local",
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [{"type": "text", "text": text}] if text and finish != "refused" else [],
        "stop_reason": reasons[finish],
        "stop_sequence": None,
        "usage": anthropic_usage(_used(question, text)),
    }


def _candidates(question: Question, text: str, finish: str) -> Json:
    usage = google_usage(_used(question, text, thought=2))
    if finish == "refused":
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}
    content = {"role": "model", "parts": [{"text": text}] if text else []}
    reason = "MAX_TOKENS" if finish == "length" else "STOP"
    return {
        "candidates": [{"index": 0, "content": content, "finishReason": reason}],
        "usageMetadata": usage,
        "modelVersion": question.model,
        "responseId": "local",
    }


def _chat(question: Question, text: str, finish: str) -> Json:
    return {
        "model": question.model,
        "created_at": "2025-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "length" if finish == "length" else "stop",
        "total_duration": 1,
        **ollama_usage(_used(question, text)),
    }


def _openai_error(_status: int, code: str, message: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _mistral_error(_status: int, code: str, message: str) -> Json:
    return {"object": "error", "message": message, "type": code, "param": None, "code": None}


def _anthropic_error(_status: int, code: str, message: str) -> Json:
    return {"type": "error", "error": {"type": code, "message": message}, "request_id": "req_local"}


def _google_error(status: int, code: str, message: str) -> Json:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    info = {"@type": kind, "reason": code.upper(), "domain": "googleapis.com"}
    return {"error": {"code": status, "message": message, "status": "FAILED", "details": [info]}}


def _ollama_error(_status: int, _code: str, message: str) -> Json:
    return {"error": message}


def _chat_wire(
    provider: str,
    path: str,
    error: Callable[[int, str, str], Json],
    usage: Callable[[Used], Json] = openai_usage,
) -> Wire:
    return Wire(provider, re.compile(path), _read_messages, partial(_completion, usage), error, "usage")


def _google_wire(provider: str, path: str) -> Wire:
    return Wire(provider, re.compile(path), _read_contents, _candidates, _google_error, "usageMetadata")


WIRES = (
    _chat_wire("openai", r"/openai/v1/chat/completions", _openai_error),
    _chat_wire("mistral", r"/mistral/v1/chat/completions", _mistral_error),
    _chat_wire("deepseek", r"/deepseek/chat/completions", _openai_error, deepseek_usage),
    Wire(
        "anthropic",
        re.compile(r"/anthropic/v1/messages"),
        _read_messages,
        _message,
        _anthropic_error,
        "usage",
    ),
    _google_wire("google", r"/google/v1beta/models/(?P<model>[^/]+):generateContent"),
    _google_wire("google_vertex", r"/vertex/v1/publishers/google/models/(?P<model>[^/]+):generateContent"),
    Wire(
        "ollama",
        re.compile(r"/ollama/api/chat"),
        _read_messages,
        _chat,
        _ollama_error,
        "prompt_eval_count",
        needs_key=False,
    ),
)
