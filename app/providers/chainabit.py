"""Chainabit: a partner that executes battle jobs in sessions, in place of the providers.

A session is submitted once and asked for until it ends. The platform's partner key authorizes the calls;
the contender's own key travels inside, which is how the partner wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from app.calls import measured
from app.errors import GiveUp, JobError, RetryLater
from app.http.deadline import total_deadline
from app.providers import outcomes
from app.providers.ceilings import most_tokens
from app.providers.fate import may_be_taken
from app.providers.keys import check_key, key_ref
from app.providers.media.base import Pending, Started, SubmissionUnknown
from app.providers.transport import http_client
from app.providers.wire import WirePart
from app.purse import Ceiling
from app.redaction import redact, remember_secret
from app.settings import Settings, settings

Result = TypeVar("Result")

#: Words for a session that has ended without a result.
_ENDED = frozenset({"failed", "cancelled", "canceled", "expired", "rejected"})


@dataclass(frozen=True)
class Session:
    """What Chainabit is asked to do for a contender; `id` is the battle job's."""

    id: str
    battle_id: str
    slot: str
    prompt: str
    system_prompt: str | None
    provider_key: str
    model_key: str
    max_tokens: int
    temperature: float


@dataclass(frozen=True)
class Answered:
    """The session is done; `text` is what the contender said."""

    text: str


class _Accepted(WirePart):
    sessionId: str  # noqa: N815  # the wire's name


class _Output(WirePart):
    outputText: str | None = None  # noqa: N815  # the wire's name


class _Progress(WirePart):
    status: str
    result: _Output | None = None
    error: str | None = None


def enabled(configured: Settings) -> bool:
    """Whether battle jobs go to Chainabit."""
    return configured.chainabit_execution_enabled


def submit(session: Session, *, contender_key: SecretStr, deadline_seconds: float) -> Started:
    """Submit a session once.

    Raises `SubmissionUnknown` when nobody can tell whether Chainabit took it; all codes are `chainabit.…`.
    """
    secret = contender_key.get_secret_value()
    body = {
        "type": "lens",
        "id": session.id,
        "prompt": session.prompt,
        "input": {
            "battle_id": session.battle_id,
            "slot": session.slot,
            "system_prompt": session.system_prompt,
            "provider_key": session.provider_key,
            "model_key": session.model_key,
            "api_key": secret,
            "max_tokens": session.max_tokens,
            "temperature": session.temperature,
        },
        "stream": False,
    }

    def post() -> Started:
        url = f"{_root()}/v1/sessions"
        response = http_client().post(url, json=body, headers=_headers(), timeout=deadline_seconds)
        accepted = _Accepted.model_validate_json(response.raise_for_status().content)
        return Started(accepted.sessionId, settings().chainabit_poll_interval_ms / 1000)

    def judge(error: Exception) -> JobError:
        judged = _judge(error, secret)
        if may_be_taken(error):
            return SubmissionUnknown(judged.message, "chainabit.submission_unknown")
        return judged

    ceiling = partial(_ceiling_of, session)
    with measured("chainabit", session.model_key, "order", key_ref(contender_key), ceiling=ceiling) as call:
        started = _attempt(post, judge, deadline_seconds)
        call.units = 1
    return started


def poll(session_id: str, *, deadline_seconds: float) -> Pending | Answered:
    """Ask once how far a session is.

    Raises `GiveUp` when it ended without a result. A word for its state that nobody knows is no success:
    it is waited on like any unfinished session, until the time for that is over.
    """

    def get() -> Pending | Answered:
        url = f"{_root()}/v1/sessions/{quote(session_id, safe='')}/result"
        response = http_client().get(url, headers=_headers(), timeout=deadline_seconds)
        progress = _Progress.model_validate_json(response.raise_for_status().content)
        if progress.status in _ENDED:
            reason = redact((progress.error or "no reason given")[: outcomes.MAX_MESSAGE_CHARS])
            raise GiveUp("chainabit.session_failed", f"the session ended as {progress.status}: {reason}")
        if progress.status != "completed":
            return Pending(settings().chainabit_poll_interval_ms / 1000)
        text = (progress.result or _Output()).outputText or ""
        if not text.strip():
            raise GiveUp("chainabit.empty_result", "the session completed without any text")
        return Answered(text.replace("\x00", ""))  # Postgres stores no NUL

    with measured("chainabit", "session", "poll"):
        return _attempt(get, _judge, deadline_seconds)


def _attempt(
    call: Callable[[], Result], judge: Callable[[Exception], JobError], deadline_seconds: float
) -> Result:
    """Run the call and raise its outcome, cut loose from the error, whose request holds the keys."""
    failure: JobError
    try:
        with total_deadline(deadline_seconds):
            return call()
    except Exception as error:
        failure = judge(error)
        failure.costs_nothing = not may_be_taken(error)
    raise failure


def _ceiling_of(session: Session) -> Ceiling:
    texts = [session.system_prompt or "", session.prompt]
    return Ceiling(most_tokens(texts), session.max_tokens, units=1)


def _judge(error: Exception, *secrets: str) -> JobError:
    """The outcome of a call, in codes of our own: `provider.timeout` is `chainabit.timeout` here."""
    judged = outcomes.judge_error(error, "chainabit", *secrets)
    code = judged.code.replace("provider.", "chainabit.", 1)
    if isinstance(judged, RetryLater):
        return RetryLater(code, judged.message, after_seconds=judged.after_seconds)
    return GiveUp(code, judged.message)


def _root() -> str:
    root = settings().chainabit_api_url.strip().rstrip("/")
    if not root:
        raise GiveUp("chainabit.not_configured", "CHAINABIT_API_URL is not set")
    return root


def _headers() -> dict[str, str]:
    key = settings().chainabit_partner_api_key
    if not key.get_secret_value().strip():
        raise GiveUp("chainabit.not_configured", "CHAINABIT_PARTNER_API_KEY is not set")
    remember_secret(key.get_secret_value())
    return {"X-Partner-Key": check_key(key)}
