"""One call to a model: pick its provider, ask under a deadline, judge what came back."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import cast

from pydantic import SecretStr

from app.calls import Call, measured
from app.errors import GiveUp
from app.http.deadline import total_deadline
from app.providers import outcomes
from app.providers.attempts import attempt, checked_key, judge_call
from app.providers.base import Answer, Model, Prompt, ProviderModule, Reply
from app.providers.ceilings import bounded, ceiling_of_prompt
from app.providers.keys import key_ref, needs_key
from app.providers.transport import MAX_TEXT_RESPONSE_BYTES, limit_headers
from app.settings import settings

_MODULES = {
    "openai": "openai",
    "mistral": "openai",
    "deepseek": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "google_vertex": "google",
    "ollama": "ollama",
    "echo": "echo",
}

#: Kinds of files that go with a prompt; the others take none.
_READS = {
    "openai": {"image"},
    "mistral": {"image"},
    "anthropic": {"image"},
    "google": {"image", "video", "audio"},
    "google_vertex": {"image", "video", "audio"},
    "ollama": {"image"},
    "echo": {"image", "video", "audio"},
}


def ask(model: Model, prompt: Prompt, *, key: SecretStr, deadline_seconds: float) -> Answer:
    """Ask a model once and return its answer.

    One attempt, over within `deadline_seconds` from connecting to the last byte. Raises only `RetryLater`
    and `GiveUp`, whose messages carry no key. No key but `key` is ever used; providers that need none
    take a blank one. With `ECHO_PROVIDER` on, the echo provider answers for every model. Where an owner's
    budget pays, the answer is bounded and what it can cost is held first, see `app.calls.measured`.
    """
    provider = "echo" if settings().echo_provider else model.provider
    module = _module(provider)
    secret = checked_key(key, provider)
    _check_files(prompt, provider)
    ceiling = None
    if needs_key(provider):
        prompt = bounded(prompt)
        ceiling = partial(ceiling_of_prompt, prompt)
    with measured(provider, model.key, "answer", key_ref(key), ceiling=ceiling) as call:
        with total_deadline(deadline_seconds, max_response_bytes=MAX_TEXT_RESPONSE_BYTES):
            reply = attempt(
                lambda: module.complete(model, prompt, secret, deadline_seconds),
                lambda error: judge_call(error, provider, secret),
            )
            call.limit_headers = limit_headers()
        _count(call, reply)
        failure = outcomes.judge_reply(reply, provider, secret)
        if failure:
            raise failure
    return Answer(
        text=reply.text.replace("\x00", ""),  # Postgres stores no NUL
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        finish_reason=reply.finish_reason,
        provider=provider,
        model=model.key,
        request_id=reply.request_id,
        latency_ms=call.duration_ms,
        usage=reply.usage,
    )


def _count(call: Call, reply: Reply) -> None:
    call.tokens_in, call.tokens_out = reply.tokens_in, reply.tokens_out
    call.tokens_cached, call.tokens_cache_write = reply.tokens_cached, reply.tokens_cache_write
    call.tokens_reasoning = reply.tokens_reasoning


def _module(provider: str) -> ProviderModule:
    """The provider's module, imported at first use: some SDKs cost a second and 70 MB."""
    name = _MODULES.get(provider)
    if name is None:
        raise GiveUp("provider.unsupported", f"the worker can't call the provider {provider!r}")
    return cast(ProviderModule, import_module(f"app.providers.{name}"))


def _check_files(prompt: Prompt, provider: str) -> None:
    for file in prompt.files:
        if file.kind not in _READS.get(provider, ()):
            raise GiveUp("provider.modality_unsupported", f"the worker can't show {provider} {file.kind}")
