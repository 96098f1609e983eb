"""Which API key a run may use: its owner's own, none for a local provider, or the platform's."""

from __future__ import annotations

import psycopg2
from pydantic import SecretStr

from app.database import CONNECTION_ERRORS, Database
from app.errors import GiveUp
from app.platform.lens_runs import LensRun
from app.providers import check_key, needs_key, platform_key
from app.redaction import remember_secret
from app.settings import Settings

#: What worker.fn_byok_key_problem answers, for people.
_PROBLEMS = {
    "key.revoked": "the run's API key was revoked, or deleted",
    "key.expired": "the run's API key has expired",
    "key.not_owned": "the run's API key belongs to somebody else",
    "key.wrong_provider": "the run's API key is for another provider",
}


def for_run(database: Database, settings: Settings, run: LensRun, provider: str) -> SecretStr:
    """The key for a run's provider; never another user's, never one from the environment by accident.

    Raises GiveUp with a `key.…` code when the run's own key can't be used or no key is there.
    """
    if run.funding_source == "user_byok_local":
        raise GiveUp("key.local_unsupported", "the run wants a key on its owner's machine, out of reach here")
    if run.byok_key_ref_id is not None:
        return _check(_decrypt(database, run, provider))
    if run.funding_source == "user_byok_cloud":
        raise GiveUp("key.missing", "the run is to be paid with its owner's API key but names none")
    if not needs_key(provider):
        return SecretStr("")
    key = platform_key(provider, settings)
    if key is None:
        raise GiveUp("key.missing", f"the platform has no API key for {provider}")
    return _check(key)


def _decrypt(database: Database, run: LensRun, provider: str) -> SecretStr:
    problem = database.call(
        "SELECT worker.fn_byok_key_problem(%s, %s, %s) AS code",
        (run.byok_key_ref_id, run.requester_lenser_id, provider),
    )[0]["code"]
    if problem:
        raise GiveUp(problem, _PROBLEMS[problem])
    try:
        rows = database.call("SELECT fn_worker_decrypt_api_key(%s) AS key", (run.byok_key_ref_id,))
    except CONNECTION_ERRORS:
        raise
    except psycopg2.Error as error:
        raise GiveUp("key.unavailable", f"the run's API key can't be read: {_first_line(error)}") from None
    return SecretStr(rows[0]["key"] or "")


def _check(key: SecretStr) -> SecretStr:
    remember_secret(key.get_secret_value())
    return SecretStr(check_key(key))


def _first_line(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or type(error).__name__).strip()
