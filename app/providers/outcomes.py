"""Turns whatever a provider call ended in into an outcome of the job: one table for all providers.

Errors are told apart by status, body and headers, never by an SDK's exception class: classes differ
between SDKs and change between their versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pydantic

from app.errors import GiveUp, JobError, RetryLater
from app.providers.base import BadReplyError, Reply
from app.providers.problem import Problem, read_problem
from app.redaction import redact

#: Error messages end up in a database column and on people's screens.
MAX_MESSAGE_CHARS = 300

#: How much of a provider's own message is looked at; a hostile one may be megabytes long.
_READ_CHARS = 5_000

NAMES = {
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "google": "Google",
    "google_vertex": "Google Vertex AI",
    "mistral": "Mistral",
    "deepseek": "DeepSeek",
    "ollama": "Ollama",
    "echo": "Echo",
    "fal": "fal",
    "stability": "Stability AI",
    "elevenlabs": "ElevenLabs",
    "kling": "Kling",
    "suno": "Suno",
    "chainabit": "Chainabit",
}

#: Every error code a provider call can end in, with what it tells people.
_TEXTS = {
    "provider.rate_limited": "{name} is rate-limiting requests",
    "provider.unavailable": "{name} is not available",
    "provider.overloaded": "{name} is overloaded",
    "provider.timeout": "{name} did not answer in time",
    "provider.connection_failed": "the connection to {name} failed",
    "provider.bad_response": "{name} answered with something that is not an answer",
    "provider.unexpected_error": "the call to {name} failed unexpectedly",
    "provider.auth_failed": "{name} did not accept the API key",
    "provider.permission_denied": "{name} denied access",
    "provider.model_not_found": "{name} does not know the model",
    "provider.content_refused": "{name} refused the content",
    "provider.context_too_long": "the prompt is too long for the model",
    "provider.invalid_request": "{name} rejected the request",
    "provider.quota_exceeded": "the quota or credit at {name} is used up",
    "provider.output_truncated": "{name} reached the token limit before it wrote any text",
}

_TRANSIENT = frozenset(
    {
        "provider.rate_limited",
        "provider.unavailable",
        "provider.overloaded",
        "provider.timeout",
        "provider.connection_failed",
        "provider.bad_response",
        "provider.unexpected_error",
    }
)

_CODES_BY_STATUS = {
    401: "provider.auth_failed",
    402: "provider.quota_exceeded",
    403: "provider.permission_denied",
    404: "provider.model_not_found",
    408: "provider.timeout",
    409: "provider.unavailable",
    413: "provider.context_too_long",
    425: "provider.unavailable",
    529: "provider.overloaded",
}

_QUOTA = ("insufficient_quota", "billing", "payment", "quota_exceeded")


@dataclass(frozen=True)
class _Rule:
    """A permanent error told by the provider's codes (contained) or, on a 400, by its message."""

    code: str
    codes: tuple[str, ...]
    message: str

    def matches(self, problem: Problem) -> bool:
        if _says(problem, self.codes):
            return True
        # Elsewhere the words are loose: a 403 may well mention a "usage policy".
        in_words = problem.status in {400, 413, 422}
        return in_words and re.search(self.message, problem.message, re.IGNORECASE) is not None


#: The first match wins; `invalid_request` alone says nothing, so the status decides after these.
_RULES = (
    _Rule(
        "provider.context_too_long",
        ("context_length", "string_above_max_length", "request_too_large"),
        r"prompt is too long|context (length|window)|input token count|too many tokens"
        r"|maximum number of tokens|reduce the length",
    ),
    _Rule(
        "provider.content_refused",
        ("content_policy", "content_filter", "content_blocked", "moderation", "safety"),
        r"content (filter|policy|management)|usage polic|safety system|content exists risk",
    ),
    _Rule(
        "provider.auth_failed",
        ("api_key_invalid", "api_key_expired", "invalid_api_key", "authentication_error", "unauthenticated"),
        r"api key (not valid|expired)",
    ),
    _Rule("provider.quota_exceeded", _QUOTA, r"credit balance|insufficient balance"),
    _Rule(
        "provider.model_not_found",
        ("model_not_found", "no_such_model", "invalid_model"),
        r"model not exist|invalid model",
    ),
)


def judge_error(error: Exception, provider: str, *secrets: str) -> JobError:
    """The outcome of a call that raised: the whole chain of causes is searched for what happened."""
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, JobError):
            return cause
        response = getattr(cause, "response", None)
        if isinstance(response, httpx2.Response):
            problem = read_problem(response.status_code, response.headers, response.content)
            return judge_problem(problem, provider, *secrets)
    for cause in chain:
        code, detail = _transport_code(cause)
        if code:
            return _outcome(code, provider, detail, None, secrets)
    return _outcome("provider.unexpected_error", provider, type(error).__name__, None, secrets)


def judge_problem(problem: Problem, provider: str, *secrets: str) -> JobError:
    """The outcome of an error response."""
    return _outcome(_code(problem), provider, problem.message, problem.retry_after_seconds, secrets)


def judge_reply(reply: Reply, provider: str, *secrets: str) -> JobError | None:
    """The outcome of a 200 that is no success, or None: refusals and cut-off answers are not answers."""
    if reply.finish_reason == "refused":
        return content_refused(provider, reply.refusal or "", *secrets)
    if reply.finish_reason == "interrupted":
        return _outcome("provider.unavailable", provider, "the answer broke off", None, secrets)
    if reply.text.strip() or reply.finish_reason == "stop":
        return None
    if reply.finish_reason == "length":
        return _outcome("provider.output_truncated", provider, "", None, secrets)
    return _outcome("provider.bad_response", provider, "no text and no reason given", None, secrets)


def content_refused(provider: str, reason: str, *secrets: str) -> JobError:
    """The outcome of an answer that says, in the provider's words, that its filters let nothing through."""
    return _outcome("provider.content_refused", provider, reason, None, secrets)


def _code(problem: Problem) -> str:
    status = problem.status
    if status < 400:
        return "provider.bad_response"
    if status == 429:
        return "provider.quota_exceeded" if _says(problem, _QUOTA) else "provider.rate_limited"
    if status >= 500 and (_says(problem, ("overloaded",)) or "overloaded" in problem.message.lower()):
        return "provider.overloaded"
    if status >= 500 or status in {401, 402, 408, 409, 425}:
        return _CODES_BY_STATUS.get(status, "provider.unavailable")
    for rule in _RULES:
        if rule.matches(problem):
            return rule.code
    return _CODES_BY_STATUS.get(status, "provider.invalid_request")


def _says(problem: Problem, words: tuple[str, ...]) -> bool:
    return any(word in code for code in problem.codes for word in words)


def _transport_code(cause: BaseException) -> tuple[str, str]:
    """The code of an error below HTTP and a detail for people; blank for anything else."""
    if isinstance(cause, httpx2.TimeoutException):
        return "provider.timeout", ""
    if isinstance(cause, BadReplyError):
        return "provider.bad_response", str(cause)
    if isinstance(cause, pydantic.ValidationError):
        return "provider.bad_response", "unexpected JSON" if cause.error_count() else ""
    if isinstance(cause, httpx2.DecodingError):
        return "provider.bad_response", "the body can't be decoded"
    if isinstance(cause, httpx2.TransportError):
        return "provider.connection_failed", str(cause)
    return "", ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and everything behind it, nearest first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _outcome(
    code: str, provider: str, detail: str, after_seconds: float | None, secrets: tuple[str, ...]
) -> JobError:
    text = _TEXTS[code].format(name=NAMES.get(provider, provider))
    detail = detail[:_READ_CHARS]
    message = redact(f"{text}: {detail}" if detail else text, *secrets)
    if len(message) > MAX_MESSAGE_CHARS:
        message = message[: MAX_MESSAGE_CHARS - 1] + "…"
    if code in _TRANSIENT:
        return RetryLater(code, message, after_seconds=after_seconds)
    return GiveUp(code, message)
