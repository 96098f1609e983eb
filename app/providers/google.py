"""Google's Gemini models, over the Gemini API and over Vertex AI's API-key mode: all that knows Google.

Of Google's SDK only the generated REST client is used, never its process-wide `configure`, which gives
one user's key to another's call. Its `requests` session is replaced by the shared HTTP client, so these
calls keep the total deadline as all others do. Vertex AI speaks the same messages under another path.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import httpx2

from app.errors import GiveUp
from app.providers.base import BadReplyError, Model, Prompt, Reply
from app.providers.transport import http_client
from app.settings import settings

with warnings.catch_warnings():
    # The package announces its own end of life, and Python's, on import; both are known.
    warnings.simplefilter("ignore", FutureWarning)
    from google.ai import generativelanguage_v1beta as gemini
    from google.ai.generativelanguage_v1beta.services.generative_service.transports.rest import (
        GenerativeServiceRestTransport,
    )
    from google.auth.credentials import AnonymousCredentials
    from google.protobuf.json_format import ParseError

# Its debug lines carry the request's headers, and with them the key.
logging.getLogger("google.ai.generativelanguage_v1beta").setLevel(logging.INFO)

#: The model becomes part of a URL's path.
_MODEL_NAME = re.compile(r"[A-Za-z0-9._:+@-]+")

_Finish = gemini.Candidate.FinishReason
_FINISH_REASONS = {
    _Finish.STOP: "stop",
    _Finish.MAX_TOKENS: "length",
    _Finish.SAFETY: "refused",
    _Finish.RECITATION: "refused",
    _Finish.BLOCKLIST: "refused",
    _Finish.PROHIBITED_CONTENT: "refused",
    _Finish.SPII: "refused",
}


def complete(model: Model, prompt: Prompt, key: str, timeout_seconds: float) -> Reply:
    """Ask once; raises httpx2's errors, or `BadReplyError` when the body is no Gemini answer."""
    if not _MODEL_NAME.fullmatch(model.wire_model):
        raise GiveUp("provider.model_not_found", "Google model names are letters, digits and . _ : + @ -")
    try:
        response = _client(model.provider, _base_url(model.provider)).generate_content(
            _request(model, prompt),
            retry=None,
            timeout=timeout_seconds,
            metadata=[("x-goog-api-key", key)],
        )
    except ParseError:
        raise BadReplyError("unexpected JSON") from None
    return _reply(response)


def _base_url(provider: str) -> str:
    now = settings()
    return (now.google_vertex_base_url if provider == "google_vertex" else now.google_base_url).rstrip("/")


@cache
def _client(provider: str, base_url: str) -> gemini.GenerativeServiceClient:
    """The keyless client that all calls share; each call brings its own key."""
    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]  # the package is not annotated
    return gemini.GenerativeServiceClient(transport=_Transport(provider, base_url, anonymous))


class _Transport(GenerativeServiceRestTransport):
    """The generated transport over our session; it takes none, so a test pins that ours is in use."""

    def __init__(self, provider: str, base_url: str, credentials: AnonymousCredentials) -> None:
        self._own_session = _Session(provider)
        super().__init__(host=base_url, credentials=credentials)

    def _prep_wrapped_messages(self, client_info: Any) -> None:
        # The last step of the constructor, and the first that looks at the session.
        self._session = cast(Any, self._own_session)
        super()._prep_wrapped_messages(client_info)  # type: ignore[no-untyped-call]  # not annotated


class _Session:
    """The one method of `requests.Session` that the generated client calls, on the shared HTTP client."""

    def __init__(self, provider: str) -> None:
        self._is_vertex = provider == "google_vertex"

    def post(
        self,
        url: str,
        *,
        timeout: float,
        headers: dict[str, str],
        params: Sequence[tuple[str, Any]],
        data: str,
    ) -> httpx2.Response:
        """Send one request; raises `httpx2.HTTPStatusError` for anything but success."""
        if self._is_vertex:
            url = url.replace("/v1beta/models/", "/v1/publishers/google/models/")
        response = http_client().post(
            url, timeout=timeout, headers=headers, params=dict(params), content=data.encode()
        )
        return response.raise_for_status()


def _request(model: Model, prompt: Prompt) -> gemini.GenerateContentRequest:
    request = gemini.GenerateContentRequest(model=f"models/{model.wire_model}", contents=_contents(prompt))
    if prompt.system:
        request.system_instruction = _content(prompt.system)
    if prompt.max_tokens:
        request.generation_config.max_output_tokens = prompt.max_tokens
    if prompt.temperature is not None:
        request.generation_config.temperature = prompt.temperature
    return request


def _contents(prompt: Prompt) -> list[gemini.Content]:
    said = [
        _content(turn.text, role="model" if turn.role == "assistant" else "user") for turn in prompt.earlier
    ]
    asked = _content(prompt.text, role="user")
    for file in prompt.files:
        asked.parts.append(gemini.Part(inline_data=gemini.Blob(mime_type=file.mime, data=file.content)))
    return [*said, asked]


def _content(text: str, role: str = "") -> gemini.Content:
    return gemini.Content(role=role, parts=[gemini.Part(text=text)])


def _reply(response: gemini.GenerateContentResponse) -> Reply:
    # The plain message: the wrapper around it warns about every number that is newer than its schema.
    plain = gemini.GenerateContentResponse.pb(response)
    usage = plain.usage_metadata
    tokens_in, said = max(usage.prompt_token_count, 0), max(usage.candidates_token_count, 0)
    # The client's schema is older than thinking, whose tokens count only towards the total.
    thought = max(usage.total_token_count - tokens_in - said, 0)
    candidate = plain.candidates[0] if plain.candidates else None
    blocked = plain.prompt_feedback.block_reason != 0
    finish = _FINISH_REASONS.get(candidate.finish_reason, "unknown") if candidate else "unknown"
    return Reply(
        text="".join(part.text for part in candidate.content.parts) if candidate else "",
        finish_reason="refused" if blocked else finish,
        tokens_in=tokens_in,
        tokens_out=said + thought,
        tokens_cached=max(usage.cached_content_token_count, 0),
        tokens_reasoning=thought,
    )
