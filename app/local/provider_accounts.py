"""The calls by which an account is looked at, as the local provider server answers them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from app.local.http.manners import Response
from app.local.provider_wire import Json

_MODELS: Json = {"object": "list", "data": []}

_ABSENT: Json = {"detail": "Request not found"}

#: Requests with what they answer to a key that is accepted.
_ANSWERS: tuple[tuple[str, str, int, Json], ...] = (
    ("openai", r"GET /openai/v1/models", 200, _MODELS),
    ("anthropic", r"GET /anthropic/v1/models", 200, {"data": [], "has_more": False}),
    ("google", r"GET /google/v1beta/models", 200, {"models": []}),
    ("google_vertex", r"POST /vertex/v1/publishers/.*:countTokens", 200, {"totalTokens": 1}),
    ("mistral", r"GET /mistral/v1/models", 200, _MODELS),
    ("deepseek", r"GET /deepseek/models", 200, _MODELS),
    ("stability", r"GET /stability/v1/user/balance", 200, {"credits": 100.0}),
    ("elevenlabs", r"GET /elevenlabs/v1/models", 200, {}),
    ("kling", r"GET /kling/v1/videos/text2video", 200, {"code": 0, "data": []}),
    ("suno", r"GET /suno/api/v1/generate/credit", 200, {"code": 200, "data": 100}),
    ("fal", r"GET /fal/.*/requests/0{8}-.*/status", 404, _ABSENT),
)

#: How those differ who don't answer a wrong key with a 401.
_REFUSALS: dict[str, tuple[int, Json]] = {
    "google": (400, {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}),
    "google_vertex": (400, {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}),
    "suno": (200, {"code": 401, "msg": "You do not have access permissions", "data": None}),
    "kling": (401, {"code": 1002, "message": "access key not found"}),
}


def visit_account(request: str, key: str, refused: Collection[str]) -> Response | None:
    """The answer to a look at an account, or None when the request is about something else.

    `request` is method and path, such as `GET /openai/v1/models`.
    """
    for provider, pattern, status, body in _ANSWERS:
        if re.fullmatch(pattern, request.partition("?")[0]):
            if key and key not in refused:
                return Response(status, json.dumps(body).encode())
            refusal = _REFUSALS.get(provider, (401, {"error": {"message": f"Bad key: {key}"}}))
            return Response(refusal[0], json.dumps(refusal[1]).encode())
    return None
