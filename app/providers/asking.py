"""One call to a model: pick its provider, ask under a deadline, judge what came back."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import cast

from pydantic import SecretStr

from app.calls import measured
from app.errors import GiveUp, JobError
from app.http.deadline import total_deadline
from app.providers import outcomes
from app.providers.base import Answer, Model, Prompt, ProviderModule, Reply
from app.providers.keys import check_key, needs_key
from app.redaction import redact, remember_secret
from app.settings import settings

_log = logging.getLogger(__name__)

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


def ask(model: Model, prompt: Prompt, *, key: SecretStr, deadline_seconds: float) -> Answer:
    """Ask a model once and return its answer.

    One attempt, over within `deadline_seconds` from connecting to the last byte. Raises only `RetryLater`
    and `GiveUp`, whose messages carry no key. No key but `key` is ever used; providers that need none
    take a blank one. With `ECHO_PROVIDER` on, the echo provider answers for every model.
    """
    provider = "echo" if settings().echo_provider else model.provider
    module = _module(provider)
    secret = _checked(key, provider)
    with measured(provider, model.key, "answer") as call:
        with total_deadline(deadline_seconds):
            reply = _attempt(
                lambda: module.complete(model, prompt, secret, deadline_seconds), provider, secret
            )
        call.tokens_in, call.tokens_out = reply.tokens_in, reply.tokens_out
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
        usage=dict(reply.usage),
    )


def _checked(key: SecretStr, provider: str) -> str:
    """The key as plain text, masked from now on wherever it might turn up; blank if it isn't needed."""
    if not needs_key(provider) and not key.get_secret_value().strip():
        return ""
    secret = check_key(key)
    remember_secret(secret)
    return secret


def _module(provider: str) -> ProviderModule:
    """The provider's module, imported at first use: some SDKs cost a second and 70 MB."""
    name = _MODULES.get(provider)
    if name is None:
        raise GiveUp("provider.unsupported", f"the worker can't call the provider {provider!r}")
    return cast(ProviderModule, import_module(f"app.providers.{name}"))


def _attempt(complete: Callable[[], Reply], provider: str, secret: str) -> Reply:
    """Run the call and raise its outcome, cut loose from the SDK's error, whose request holds the key."""
    failure: JobError
    try:
        return complete()
    except Exception as error:
        failure = outcomes.judge_error(error, provider, secret)
        if failure.code == "provider.unexpected_error":
            _log.error("%s", redact("".join(traceback.format_exception(error)), secret))
    raise failure
