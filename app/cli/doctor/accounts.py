"""Check of the platform's provider keys against the providers: the cheapest call that wants a key.

None of these calls costs anything; a key that may not make the call, but perhaps others, is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
from pydantic import SecretStr

from app.cli.doctor.finding import Finding, Level, Patient
from app.errors import GiveUp
from app.http.deadline import total_deadline
from app.providers import check_key, platform_key
from app.providers.transport import http_client
from app.settings import Settings

#: How long a provider may take.
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class _Account:
    """The cheapest authenticated call of a provider: where below its base URL, and how it wants the key."""

    base_url: Callable[[Settings], str]
    path: str
    header: str = "Authorization"
    scheme: str = "Bearer "
    body: Mapping[str, Any] | None = None
    further: Mapping[str, str] = field(default_factory=dict)


_COUNT = {"contents": [{"role": "user", "parts": [{"text": "ping"}]}]}
_NO_REQUEST = "fal-ai/flux/requests/00000000-0000-0000-0000-000000000000/status"

ACCOUNTS = {
    "openai": _Account(lambda s: s.openai_base_url, "models"),
    "anthropic": _Account(
        lambda s: s.anthropic_base_url,
        "v1/models?limit=1",
        "x-api-key",
        "",
        further={"anthropic-version": "2023-06-01"},
    ),
    "google": _Account(lambda s: s.google_base_url, "v1beta/models?pageSize=1", "x-goog-api-key", ""),
    # Its API keys may not list anything.
    "google_vertex": _Account(
        lambda s: s.google_vertex_base_url,
        "v1/publishers/google/models/gemini-2.5-flash:countTokens",
        "x-goog-api-key",
        "",
        body=_COUNT,
    ),
    "mistral": _Account(lambda s: s.mistral_base_url, "models"),
    "deepseek": _Account(lambda s: s.deepseek_base_url, "models"),
    "stability": _Account(lambda s: s.stability_base_url, "v1/user/balance"),
    "elevenlabs": _Account(lambda s: s.elevenlabs_base_url, "v1/models", "xi-api-key", ""),
    "kling": _Account(lambda s: s.kling_base_url, "v1/videos/text2video?pageNum=1&pageSize=1"),
    "suno": _Account(lambda s: s.suno_base_url, "api/v1/generate/credit"),
    # It has no account to ask for: a request that isn't there is not found only for those who may ask.
    "fal": _Account(lambda s: s.fal_base_url, _NO_REQUEST, scheme="Key "),
}


def check_accounts(patient: Patient) -> Iterator[Finding]:
    """The providers accept the platform's keys; only asked for by --online."""
    if not patient.online:
        return
    keys = {name: key for name in ACCOUNTS if (key := platform_key(name, patient.settings))}
    with ThreadPoolExecutor(max_workers=len(ACCOUNTS)) as pool:
        yield from pool.map(lambda item: _ask(item[0], item[1], patient.settings), keys.items())


def _ask(provider: str, key: SecretStr, settings: Settings) -> Finding:
    account = ACCOUNTS[provider]
    url = f"{account.base_url(settings).rstrip('/')}/{account.path}"
    try:
        headers = {account.header: account.scheme + check_key(key), **account.further}
        with total_deadline(TIMEOUT_SECONDS):
            response = http_client().request(
                "POST" if account.body else "GET",
                url,
                headers=headers,
                json=account.body,
                timeout=TIMEOUT_SECONDS,
            )
    except GiveUp as error:
        return _refused(provider, error.message)
    except (httpx2.HTTPError, TimeoutError) as error:
        return Finding(
            "accounts",
            Level.WARNING,
            f"{provider} can't be reached: {type(error).__name__}",
            "its runs wait and are tried again",
            "try again; check the network and the provider's base URL",
        )
    return _judge(provider, response)


def _judge(provider: str, response: httpx2.Response) -> Finding:
    status = _status(response)
    if status == 401 or (status == 400 and "API_KEY_INVALID" in response.text.upper()):
        return _refused(provider, f"{status} from the provider")
    if status == 403:
        return Finding(
            "accounts",
            Level.WARNING,
            f"the key for {provider} may not ask for its account (403)",
            "it may be limited to other calls, or to nothing at all",
            "look at the key's rights at the provider",
        )
    if status >= 500:
        return Finding(
            "accounts",
            Level.WARNING,
            f"{provider} answers {status}",
            "its runs wait and are tried again",
            "look at the provider's status page",
        )
    return Finding("accounts", Level.FINE, f"{provider} accepts the key")


def _status(response: httpx2.Response) -> int:
    """The status, or the one that Suno's and Kling's answers carry inside a 200."""
    if response.status_code != 200:
        return response.status_code
    try:
        code = response.json().get("code")
    except (ValueError, AttributeError):
        return 200
    return 401 if code == 401 or (isinstance(code, int) and 1000 <= code <= 1004) else 200


def _refused(provider: str, reason: str) -> Finding:
    return Finding(
        "accounts",
        Level.BROKEN,
        f"the key for {provider} is not accepted: {reason}",
        "every run that is paid with it fails with provider.auth_failed",
        "make a new key at the provider, set its variable, restart;"
        " then lf-worker dead-letters replay --code provider.auth_failed",
    )
