"""A provider that answers with the prompt: offline, keyless, for development and load tests."""

from __future__ import annotations

import time

import httpx2

from app.providers.base import Model, Prompt, Reply
from app.settings import settings


def complete(model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:  # noqa: ARG001 (asks nobody)
    """Wait for `WORKER_ECHO_LATENCY_MS`, then say the prompt again; tokens are its words."""
    latency_seconds = settings().echo_latency_ms / 1000
    time.sleep(min(latency_seconds, timeout_seconds))
    if latency_seconds > timeout_seconds:
        raise httpx2.ReadTimeout("the echo takes longer than the deadline")
    heard = f"{prompt.system or ''} {prompt.text}"
    return Reply(
        text=prompt.text,
        finish_reason="stop",
        tokens_in=len(heard.split()),
        tokens_out=len(prompt.text.split()),
    )
