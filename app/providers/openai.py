"""Chat completions: OpenAI, and the two providers that speak its protocol, Mistral and DeepSeek."""

from __future__ import annotations

from typing import Annotated, Any

from openai import OpenAI, omit
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from pydantic import Field

from app.providers.base import BadReplyError, Model, Prompt, Reply
from app.providers.transport import http_client
from app.providers.wire import Count, Lenient, WirePart
from app.settings import settings

_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "content_filter": "refused",
    "error": "interrupted",
    "insufficient_system_resource": "interrupted",
}


class _PromptDetails(WirePart):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0


class _CompletionDetails(WirePart):
    reasoning_tokens: Count = 0


class _Usage(WirePart):
    """The details are parts of what is counted before them."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: Annotated[_PromptDetails, Lenient] = _PromptDetails()
    completion_tokens_details: Annotated[_CompletionDetails, Lenient] = _CompletionDetails()
    #: DeepSeek's name for the cached part of the prompt.
    prompt_cache_hit_tokens: Count = 0


class _TextPart(WirePart):
    type: str
    text: str = ""


class _Message(WirePart):
    content: str | list[_TextPart] | None = None
    refusal: str | None = None

    def text(self) -> str:
        """The answer's text; Mistral's reasoning models send it in parts, the thinking apart."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class _Choice(WirePart):
    message: _Message
    finish_reason: str | None = None


class _Completion(WirePart):
    choices: list[_Choice] = Field(min_length=1)
    usage: Annotated[_Usage, Lenient] = _Usage()


def complete(model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:
    """Ask once; raises the SDK's errors, or pydantic's when the body is no chat completion."""
    response = (
        _client(model.provider, key)
        .chat.completions.with_raw_response.create(
            model=model.wire_model,
            messages=_messages(prompt),
            **_bound(model.provider, prompt.max_tokens),
            temperature=omit if prompt.temperature is None else prompt.temperature,
            extra_body=_extra_body(model.provider),
            timeout=timeout_seconds,
        )
        .http_response
    )
    if response.status_code != 200:
        raise BadReplyError(f"status {response.status_code}")
    return _reply(_Completion.model_validate_json(response.content), response.headers.get("x-request-id"))


def _client(provider: str, key: str) -> OpenAI:
    """A client for one call: the key belongs to it alone, the connections to everyone."""
    now = settings()
    base_urls = {
        "openai": now.openai_base_url,
        "mistral": now.mistral_base_url,
        "deepseek": now.deepseek_base_url,
    }
    client = OpenAI(api_key=key, base_url=base_urls[provider], http_client=http_client(), max_retries=0)
    # The SDK also takes these from the environment, which would send one user's call under another's name.
    # It offers no switch; a test pins that nothing of it reaches the wire.
    client.organization = client.project = None
    client._custom_headers = {}
    return client


def _messages(prompt: Prompt) -> list[ChatCompletionMessageParam]:
    messages: list[ChatCompletionMessageParam] = []
    if prompt.system:
        messages.append({"role": "system", "content": prompt.system})
    for turn in prompt.earlier:
        if turn.role == "user":
            messages.append({"role": "user", "content": turn.text})
        else:
            messages.append({"role": "assistant", "content": turn.text})
    messages.append({"role": "user", "content": _content(prompt)})
    return messages


def _content(prompt: Prompt) -> str | list[ChatCompletionContentPartParam]:
    if not prompt.files:
        return prompt.text
    shown: list[ChatCompletionContentPartParam] = [
        {"type": "image_url", "image_url": {"url": file.data_uri}} for file in prompt.files
    ]
    return [{"type": "text", "text": prompt.text}, *shown]


def _bound(provider: str, max_tokens: int | None) -> dict[str, Any]:
    """The bound of an answer. OpenAI's reasoning models refuse its old name, the others know no new one."""
    if not max_tokens:
        return {}
    return {"max_completion_tokens" if provider == "openai" else "max_tokens": max_tokens}


def _extra_body(provider: str) -> dict[str, object] | None:
    return {"thinking": {"type": "disabled"}} if provider == "deepseek" else None


def _reply(completion: _Completion, request_id: str | None) -> Reply:
    choice, usage = completion.choices[0], completion.usage
    of_prompt, of_completion = usage.prompt_tokens_details, usage.completion_tokens_details
    refused = bool(choice.message.refusal)
    return Reply(
        text=choice.message.text(),
        finish_reason="refused" if refused else _FINISH_REASONS.get(choice.finish_reason or "", "unknown"),
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        tokens_cached=of_prompt.cached_tokens or usage.prompt_cache_hit_tokens,
        tokens_cache_write=of_prompt.cache_write_tokens,
        tokens_reasoning=of_completion.reasoning_tokens,
        request_id=request_id,
        refusal=choice.message.refusal,
    )
