"""Ollama's chat API, over plain HTTP: a server on the worker's own network, usually without a key."""

from __future__ import annotations

from typing import Any

from app.providers.base import Model, Prompt, Reply
from app.providers.transport import http_client
from app.providers.wire import Count, WirePart
from app.settings import settings

_FINISH_REASONS = {"stop": "stop", "length": "length"}


class _Message(WirePart):
    content: str | None = None


class _Chat(WirePart):
    message: _Message
    done_reason: str | None = None
    prompt_eval_count: Count = 0
    eval_count: Count = 0


def complete(model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:
    """Ask once; raises httpx2's errors, or pydantic's when the body is no chat answer."""
    response = http_client().post(
        f"{settings().ollama_base_url.rstrip('/')}/api/chat",
        json=_body(model, prompt),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=timeout_seconds,
    )
    response.raise_for_status()
    chat = _Chat.model_validate_json(response.content)
    return Reply(
        text=chat.message.content or "",
        finish_reason=_FINISH_REASONS.get(chat.done_reason or "", "unknown"),
        tokens_in=chat.prompt_eval_count,
        tokens_out=chat.eval_count,
    )


def _body(model: Model, prompt: Prompt) -> dict[str, Any]:
    asked: dict[str, Any] = {"role": "user", "content": prompt.text}
    if prompt.files:
        asked["images"] = [file.encoded for file in prompt.files]
    messages = [*({"role": turn.role, "content": turn.text} for turn in prompt.earlier), asked]
    if prompt.system:
        messages.insert(0, {"role": "system", "content": prompt.system})
    body: dict[str, Any] = {"model": model.wire_model, "messages": messages, "stream": False}
    options: dict[str, float] = {}
    if prompt.max_tokens:
        options["num_predict"] = prompt.max_tokens
    if prompt.temperature is not None:
        options["temperature"] = prompt.temperature
    return {**body, "options": options} if options else body
