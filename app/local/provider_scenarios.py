"""What can go wrong at a provider, by name: the local provider server answers in any of these ways.

A model called `sc-<scenario>` or `<anything>+<scenario>` gets the scenario instead of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Protocol

from app.local.http.manners import Manner, Response
from app.local.provider_wire import Json, Question, Wire

#: Seconds that the `429` scenarios ask for.
RETRY_AFTER_SECONDS = 2


@dataclass(frozen=True)
class _Failure:
    status: int
    code: str
    message: str


_POLICY = _Failure(400, "content_policy_violation", "Your request was rejected by our safety system.")

#: Errors that look alike everywhere but for their envelope.
_FAILURES = {
    "400": _Failure(400, "invalid_request_error", "Unrecognized request argument supplied: colour"),
    "401": _Failure(401, "authentication_error", "Incorrect API key provided."),
    "402": _Failure(402, "payment_required", "Insufficient Balance"),
    "403": _Failure(403, "permission_error", "You have no access to this project."),
    "404": _Failure(404, "not_found_error", "The model does not exist."),
    "408": _Failure(408, "timeout", "The request timed out."),
    "409": _Failure(409, "conflict", "Another request is in the way."),
    "422": _Failure(422, "validation_error", "Input should be a valid string"),
    "425": _Failure(425, "too_early", "Too early."),
    "429": _Failure(429, "rate_limit_exceeded", "Rate limit reached."),
    "429-date": _Failure(429, "rate_limit_exceeded", "Rate limit reached."),
    "500": _Failure(500, "server_error", "The server had an error."),
    "503": _Failure(503, "service_unavailable", "Come back later."),
    "529": _Failure(529, "overloaded_error", "Overloaded"),
    "policy": _POLICY,
}

#: Errors that the providers report each in their own way; `None` stands for all others.
_OWN_FAILURES: dict[str, dict[str | None, _Failure]] = {
    "insufficient_quota": {
        "openai": _Failure(429, "insufficient_quota", "You exceeded your current quota."),
        "anthropic": _Failure(400, "invalid_request_error", "Your credit balance is too low."),
        "google": _Failure(403, "billing_disabled", "This API method requires billing to be enabled."),
        None: _Failure(402, "payment_required", "Insufficient Balance"),
    },
    "bad-key": {
        "google": _Failure(400, "api_key_invalid", "API key not valid. Please pass a valid API key."),
        None: _Failure(401, "invalid_api_key", "Incorrect API key provided."),
    },
    "policy": {
        "anthropic": _Failure(400, "invalid_request_error", "Output blocked by content filtering policy"),
        None: _POLICY,
    },
    "context-too-long": {
        "anthropic": _Failure(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000"),
        "google": _Failure(
            400, "invalid_argument", "The input token count (2000000) exceeds the maximum number of tokens."
        ),
        None: _Failure(
            400, "context_length_exceeded", "This model's maximum context length is 128000 tokens."
        ),
    },
}

_FINISHES = {"refusal": ("", "refused"), "length-empty": ("", "length")}
_MANNERS: dict[str, Manner] = {"drip": "drip", "hang": "hang", "cut-body": "cut", "reset": "reset"}
_CANNED = {
    "html": Response(200, b"<html><body>Down for maintenance</body></html>", "text/html"),
    "empty-json": Response(200, b"{}"),
    "image-filtered": Response(200, b'{"predictions": [{"raiFilteredReason": "Violence is not shown."}]}'),
    "redirect": Response(307, b"", headers={"Location": "http://127.0.0.1:9/elsewhere"}),
}

#: Every scenario there is.
SCENARIOS = frozenset(
    {*_FAILURES, *_OWN_FAILURES, *_FINISHES, *_MANNERS, *_CANNED}
    | {"length-text", "bad-json", "no-usage", "echo-key"}
)


def scenario_of(model: str) -> str | None:
    """The scenario that a model's name asks for, or None; raises `ValueError` for one that isn't there."""
    name = model.removeprefix("sc-") if model.startswith("sc-") else model.partition("+")[2]
    if name and name not in SCENARIOS:
        raise ValueError(f"no scenario is called {name!r}")
    return name or None


def respond(
    scenario: str | None, wire: Wire, question: Question, key: str, said: str | None = None
) -> Response:
    """The response to a question in a scenario; with None, an ordinary answer, which says `said` if given."""
    if scenario in _FAILURES or scenario in _OWN_FAILURES or scenario == "echo-key":
        return _fail(scenario, wire, key)
    if scenario in _CANNED:
        return _CANNED[scenario]
    text = f"{question.model} says: {question.prompt}" if said is None else said
    words, finish = _FINISHES.get(scenario or "", (text, "length" if scenario == "length-text" else "stop"))
    answer = wire.answer(question, words, finish)
    if scenario == "no-usage":
        del answer[wire.usage_field]
    body = json.dumps(answer).encode()
    if scenario == "bad-json":
        body = body[:-7]
    return Response(200, body, manner=_MANNERS.get(scenario or "", "whole"))


class Protocolled(Protocol):
    """A wire format, as far as failures go."""

    @property
    def provider(self) -> str:
        """Whose it is."""

    @property
    def error(self) -> Callable[[int, str, str], Json]:
        """Builds the body of a failure from status, code and message."""


def spoil(scenario: str | None, wire: Protocolled, response: Response, key: str) -> Response:
    """An ordinary response as it comes in a scenario that is about the transport or a failure."""
    if scenario in _FAILURES or scenario in _OWN_FAILURES or scenario == "echo-key":
        return _fail(scenario, wire, key)
    if scenario in _CANNED:
        return _CANNED[scenario]
    body = response.body[:-7] if scenario == "bad-json" else response.body
    return replace(response, body=body, manner=_MANNERS.get(scenario or "", "whole"))


def _fail(scenario: str, wire: Protocolled, key: str) -> Response:
    if scenario == "echo-key":
        failure = _Failure(401, "invalid_api_key", f"Incorrect API key provided: {key}.")
    else:
        own = _OWN_FAILURES.get(scenario, {})
        brand = "google" if wire.provider == "google_vertex" else wire.provider
        failure = own.get(brand) or own.get(None) or _FAILURES[scenario]
    body = json.dumps(wire.error(failure.status, failure.code, failure.message)).encode()
    return Response(failure.status, body, headers=_retry_after(scenario))


def _retry_after(scenario: str) -> dict[str, str]:
    if scenario == "429":
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if scenario == "429-date":
        moment = datetime.now(UTC) + timedelta(seconds=RETRY_AFTER_SECONDS)
        return {"Retry-After": format_datetime(moment, usegmt=True)}
    return {}
