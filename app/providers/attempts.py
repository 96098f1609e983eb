"""What every call to a provider has in common: a usable key before it, and a judged outcome after it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import TypeVar

from pydantic import SecretStr

from app.calls import Call, measured
from app.errors import JobError
from app.http.deadline import total_deadline
from app.providers import outcomes
from app.providers.fate import may_be_taken
from app.providers.keys import check_key, key_ref, needs_key
from app.providers.transport import MAX_TEXT_RESPONSE_BYTES
from app.purse import Ceiling
from app.redaction import redact, remember_secret

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def checked_key(key: SecretStr, provider: str) -> str:
    """The key as plain text, masked from now on wherever it might turn up; blank if it isn't needed."""
    if not needs_key(provider) and not key.get_secret_value().strip():
        return ""
    secret = check_key(key)
    remember_secret(secret)
    return secret


def attempt(call: Callable[[], Result], judge: Callable[[Exception], JobError]) -> Result:
    """Run the call and raise its outcome, cut loose from the error, whose request holds the key."""
    failure: JobError
    try:
        return call()
    except Exception as error:
        failure = judge(error)
        failure.costs_nothing = not may_be_taken(error)
    raise failure


def judge_call(error: Exception, provider: str, secret: str) -> JobError:
    """The outcome that an error of a call means; one that nobody foresaw is logged in full."""
    judged = outcomes.judge_error(error, provider, secret)
    if judged.code == "provider.unexpected_error":
        _log.error("%s", redact("".join(traceback.format_exception(error)), secret))
    return judged


def call_once(
    provider: str,
    model: str,
    key: SecretStr,
    deadline_seconds: float,
    do: Callable[[str, Call], Result],
    *,
    ceiling: Callable[[], Ceiling] | None = None,
) -> tuple[Result, Call]:
    """Make one call with a key, within a deadline, and say how it went; `do` adds the tokens to that.

    `ceiling` is the most that it can take, None for what is free. Raises `RetryLater` and `GiveUp`, whose
    messages carry no key, and what the purse that pays raises.
    """
    secret = checked_key(key, provider)
    with (
        measured(provider, model, "answer", key_ref(key), ceiling=ceiling) as call,
        total_deadline(deadline_seconds, max_response_bytes=MAX_TEXT_RESPONSE_BYTES),
    ):
        result = attempt(lambda: do(secret, call), lambda error: judge_call(error, provider, secret))
    return result, call
