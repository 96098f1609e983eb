"""Anthropic's Messages API."""

from __future__ import annotations

from typing import Annotated, Any

from anthropic import Anthropic, omit
from anthropic.types import MessageParam

from app.providers.base import BadReplyError, Model, Prompt, Reply
from app.providers.transport import http_client
from app.providers.wire import Count, Lenient, WirePart, total
from app.settings import settings

#: The API demands a limit; this is what the platform has always sent when a job names none.
DEFAULT_MAX_TOKENS = 4096

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class _OutputDetails(WirePart):
    thinking_tokens: Count = 0


class _Usage(WirePart):
    """What the cache had or was given comes beside the input; thinking is a part of the output."""

    input_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    output_tokens: Count = 0
    output_tokens_details: Annotated[_OutputDetails, Lenient] = _OutputDetails()


class _Block(WirePart):
    type: str
    text: str = ""


class _Message(WirePart):
    content: list[_Block]
    stop_reason: str | None = None
    usage: Annotated[_Usage, Lenient] = _Usage()


def complete(model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:
    """Ask once; raises the SDK's errors, or pydantic's when the body is no message."""
    response = (
        _client(key)
        .messages.with_raw_response.create(
            model=model.wire_model,
            messages=_messages(prompt),
            system=prompt.system or omit,
            max_tokens=prompt.max_tokens or DEFAULT_MAX_TOKENS,
            # No parameter of the SDK any more, but the API still takes it.
            extra_body=None if prompt.temperature is None else {"temperature": prompt.temperature},
            timeout=timeout_seconds,
        )
        .http_response
    )
    if response.status_code != 200:
        raise BadReplyError(f"status {response.status_code}")
    return _reply(_Message.model_validate_json(response.content), response.headers.get("request-id"))


def _messages(prompt: Prompt) -> list[MessageParam]:
    earlier: list[MessageParam] = [{"role": turn.role, "content": turn.text} for turn in prompt.earlier]
    if not prompt.files:
        return [*earlier, {"role": "user", "content": prompt.text}]
    # The SDK lists the types of images that it knew when it was made; the API decides.
    shown: Any = [
        {"type": "image", "source": {"type": "base64", "media_type": file.mime, "data": file.encoded}}
        for file in prompt.files
    ]
    return [*earlier, {"role": "user", "content": [*shown, {"type": "text", "text": prompt.text}]}]


def _client(key: str) -> Anthropic:
    """A client for one call: the key belongs to it alone, the connections to everyone."""
    client = Anthropic(
        api_key=key,
        base_url=settings().anthropic_base_url,
        http_client=http_client(),
        max_retries=0,
        open_telemetry=False,
    )
    # The SDK also takes headers from the environment, and with them another key. It offers no switch; a
    # test pins that nothing of it reaches the wire.
    client._custom_headers = {}
    return client


def _reply(message: _Message, request_id: str | None) -> Reply:
    usage = message.usage
    cached, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return Reply(
        text="".join(block.text for block in message.content if block.type == "text"),
        finish_reason=_FINISH_REASONS.get(message.stop_reason or "", "unknown"),
        tokens_in=total(usage.input_tokens, cached, written),
        tokens_out=usage.output_tokens,
        tokens_cached=cached,
        tokens_cache_write=written,
        tokens_reasoning=usage.output_tokens_details.thinking_tokens,
        request_id=request_id,
    )
