"""Which API key a job may use: its payer's own, none for a local provider, or the platform's."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg2
from pydantic import SecretStr

from app.database import Database
from app.errors import GiveUp
from app.platform.battles import BattleJob
from app.platform.lens_runs import LensRun
from app.providers import ApiKey, check_key, needs_key, platform_key
from app.redaction import remember_secret
from app.settings import Settings

#: What worker.fn_byok_key_problem answers, for people.
_PROBLEMS = {
    "key.revoked": "the job's API key was revoked, or deleted",
    "key.expired": "the job's API key has expired",
    "key.not_owned": "the job's API key belongs to somebody else",
    "key.wrong_provider": "the job's API key is for another provider",
    "key.rejected": "the provider refused the job's API key a short while ago",
}


@dataclass(frozen=True)
class Payer:
    """Who pays for a call: the platform's `funding_source`, the stored key if one is named, and its owner.

    `lenser_id` is None where it was found out earlier that the key may be used.
    """

    funding_source: str
    key_id: UUID | None
    lenser_id: UUID | None


def for_run(database: Database, settings: Settings, run: LensRun, provider: str) -> SecretStr:
    """The key for a run's provider; see `for_payer`."""
    payer = Payer(run.funding_source, run.byok_key_ref_id, run.requester_lenser_id)
    return for_payer(database, settings, payer, provider)


def for_battle_job(database: Database, settings: Settings, job: BattleJob, provider: str) -> SecretStr:
    """The key for a contender's provider; see `for_payer`."""
    payer = Payer(job.funding_source, job.byok_key_ref_id, job.key_owner_lenser_id)
    return for_payer(database, settings, payer, provider)


def for_task(database: Database, settings: Settings, key_id: UUID | None, provider: str) -> SecretStr:
    """The key that a provider's task was started with; see `for_payer`."""
    payer = Payer("user_byok_cloud" if key_id else "platform_credit", key_id, None)
    return for_payer(database, settings, payer, provider)


def for_payer(database: Database, settings: Settings, payer: Payer, provider: str) -> SecretStr:
    """The key that pays for a provider; never another user's, never one from the environment by accident.

    A stored key wins, and no other takes its place. Raises GiveUp with a `key.…` code when it can't be
    used or no key is there.
    """
    if payer.funding_source == "user_byok_local":
        raise GiveUp("key.local_unsupported", "the job wants a key on its owner's machine, out of reach here")
    if payer.key_id is not None:
        secret = _check(_decrypt(database, payer, payer.key_id, provider))
        return ApiKey(secret.get_secret_value(), str(payer.key_id))
    if payer.funding_source == "user_byok_cloud":
        raise GiveUp("key.missing", "the job is to be paid with its owner's API key but names none")
    if not needs_key(provider):
        return SecretStr("")
    key = platform_key(provider, settings)
    if key is None:
        raise GiveUp("key.missing", f"the platform has no API key for {provider}")
    return _check(key)


def _decrypt(database: Database, payer: Payer, key_id: UUID, provider: str) -> SecretStr:
    problem = database.call(
        "SELECT worker.fn_byok_key_problem(%s, %s, %s) AS code", (key_id, payer.lenser_id, provider)
    )[0]["code"]
    if problem:
        raise GiveUp(problem, _PROBLEMS[problem])
    try:
        rows = database.call("SELECT fn_worker_decrypt_api_key(%s) AS key", (key_id,))
    except psycopg2.Error as error:
        raise GiveUp("key.unavailable", f"the job's API key can't be read: {_first_line(error)}") from None
    return SecretStr(rows[0]["key"] or "")


def _check(key: SecretStr) -> SecretStr:
    remember_secret(key.get_secret_value())
    return SecretStr(check_key(key))


def _first_line(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or type(error).__name__).strip()
