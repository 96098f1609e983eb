"""Credentials of connected accounts: who gets which, and how they are kept fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import GiveUp, JobError, RetryLater
from app.local.connections import connect_account
from app.local.platform import Seeded
from app.local.services.server import ServiceServer
from app.local.services.wire import Answered
from app.local.teams import make_agent
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from app.platform.connectors import ConnectorRef, resolve_credential
from app.platform.workflows import WorkflowRun
from app.redaction import redact
from tests.integration.workflow_rows import BOTH_PLATFORMS, must_claim, rows, update

REF = "google.sheets.main"
SHEETS = "https://www.googleapis.com/auth/spreadsheets"
TOKEN = "ya29.planted-access-token-0123456789"
REFRESH = "1//planted-refresh-token-0123456789"


pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture
def services(configure: Callable[..., None]) -> Iterator[ServiceServer]:
    with ServiceServer() as server:
        configure(**server.environment())
        server.google_oauth.refresh_tokens.add(REFRESH)
        yield server


def a_run(connection: Connection, database: Database, **columns: object) -> WorkflowRun:
    workflow = make_workflow(connection, {"start": NodeSeed({"nodeType": "manual_trigger"})}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, **columns)
    return WorkflowRun.model_validate(must_claim(database, hint=run_id).job)


def refused(database: Database, run: WorkflowRun, ref: str = REF, scopes: tuple[str, ...] = ()) -> JobError:
    with pytest.raises(JobError) as refusal:
        resolve_credential(database, run, ref, scopes)
    for secret in (TOKEN, REFRESH):
        assert secret not in str(refusal.value)
    return refusal.value


@BOTH_PLATFORMS
def test_the_owners_connection_serves_the_run_by_either_spelling(
    database: Database, connection: Connection
) -> None:
    connect_account(connection, REF, TOKEN, [SHEETS])
    run = a_run(connection, database)
    for ref in (REF, f"[[:connector:{REF}]]", ConnectorRef.parse(REF)):
        token = resolve_credential(database, run, ref, [SHEETS])
        assert token.get_secret_value() == TOKEN
    assert TOKEN not in repr(token)
    assert TOKEN not in redact(f"the answer quotes {TOKEN}")


def test_an_agents_run_uses_its_own_connection_before_its_owners(
    database: Database, connection: Connection
) -> None:
    agent = make_agent(connection, "Lena")
    profile = rows(connection, "SELECT profile_id FROM agents.ai_lensers WHERE id = %s", agent)[0]
    run = a_run(connection, database, ai_lenser_id=agent)
    connect_account(connection, REF, TOKEN)
    assert resolve_credential(database, run, REF).get_secret_value() == TOKEN
    connect_account(connection, REF, "ya29.the-agents-own-0123456789", owner=profile["profile_id"])
    assert resolve_credential(database, run, REF).get_secret_value() == "ya29.the-agents-own-0123456789"


def test_another_persons_agent_lends_nothing_to_the_workflow(
    database: Database, connection: Connection
) -> None:
    agent = make_agent(connection, "Lena", owner="grace")
    profile = rows(connection, "SELECT profile_id FROM agents.ai_lensers WHERE id = %s", agent)[0]
    connect_account(connection, REF, TOKEN, owner=profile["profile_id"])
    assert refused(database, a_run(connection, database, ai_lenser_id=agent)).code == "connector.not_found"


def test_a_run_that_a_stranger_started_gets_neither_persons_connection(
    database: Database, connection: Connection, seeded: Seeded
) -> None:
    connect_account(connection, REF, TOKEN)
    connect_account(connection, REF, "ya29.grace-0123456789", owner="grace")
    run = a_run(connection, database, triggered_by=seeded.people["grace"])
    assert refused(database, run).code == "connector.not_found"


def test_a_run_that_nobody_started_acts_as_the_workflows_owner(
    database: Database, connection: Connection
) -> None:
    connect_account(connection, REF, TOKEN)
    run = a_run(connection, database, triggered_by=None)
    assert resolve_credential(database, run, REF).get_secret_value() == TOKEN


def test_what_can_not_be_used_is_refused_by_name(database: Database, connection: Connection) -> None:
    run = a_run(connection, database)
    assert refused(database, run, "my-connector").code == "connector.unusable"
    assert refused(database, run).code == "connector.not_found"
    connected = connect_account(connection, REF, TOKEN, ["other"])
    missing = refused(database, run, scopes=(SHEETS,))
    assert missing.code == "connector.scope_missing"
    assert SHEETS in missing.message
    rows(connection, "DELETE FROM vault.secrets")
    assert refused(database, run).code == "connector.token_missing"
    update(connection, "public.user_oauth_connections", connected, is_active=False, revoked_at="now")
    assert refused(database, run).code == "connector.not_found"


@BOTH_PLATFORMS
def test_a_token_that_ends_soon_is_refreshed_once_and_its_scopes_stay(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    connect_account(connection, REF, TOKEN, [SHEETS], refresh_token=REFRESH, expires_in=timedelta(seconds=-1))
    run = a_run(connection, database)
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: resolve_credential(database, run, REF, [SHEETS]), range(8)))
    assert {token.get_secret_value() for token in tokens} == set(services.google_oauth.issued)
    assert len(services.google_oauth.issued) == 1
    row = rows(connection, "SELECT granted_scopes, expires_at > now() AS lasts FROM user_oauth_connections")[
        0
    ]
    assert row == {"granted_scopes": [SHEETS], "lasts": True}


def test_the_scopes_that_google_names_replace_the_stored_ones(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    services.google_oauth.scope = f"{SHEETS} openid"
    connect_account(connection, REF, TOKEN, [], refresh_token=REFRESH, expires_in=None)
    resolve_credential(database, a_run(connection, database), REF, [SHEETS])
    assert len(services.google_oauth.issued) == 1


@pytest.mark.parametrize(
    ("answer", "expired", "fresh"),
    [
        pytest.param(Answered(400, {"error": "invalid_grant"}), "connector.revoked", TOKEN, id="withdrawn"),
        pytest.param(Answered(503, {}), "connector.refresh_failed", TOKEN, id="away"),
        pytest.param(Answered(200, {"odd": TOKEN}), "connector.refresh_failed", TOKEN, id="garbled"),
    ],
)
def test_a_failed_refresh_matters_only_once_the_token_has_ended(
    answer: Answered,
    expired: str,
    fresh: str,
    database: Database,
    connection: Connection,
    services: ServiceServer,
) -> None:
    services.script("google_oauth", [answer, answer])
    connected = connect_account(
        connection, REF, TOKEN, refresh_token=REFRESH, expires_in=timedelta(seconds=60)
    )
    run = a_run(connection, database)
    assert resolve_credential(database, run, REF).get_secret_value() == fresh
    update(connection, "public.user_oauth_connections", connected, expires_at="2020-01-01")
    error = refused(database, run)
    assert error.code == expired
    assert isinstance(error, GiveUp if expired == "connector.revoked" else RetryLater)


def test_a_token_of_another_service_is_never_sent_to_google(
    database: Database, connection: Connection, services: ServiceServer
) -> None:
    connect_account(connection, "github.repos.main", TOKEN, refresh_token=REFRESH, expires_in=None)
    run = a_run(connection, database)
    assert resolve_credential(database, run, "github.repos.main").get_secret_value() == TOKEN
    assert services.asked == []


def test_only_a_name_of_three_parts_is_a_reference() -> None:
    for odd in ("a.b", "a.b.c.d", "A.b.c", "a.b.-c", "a.b\n.c", "", "[[:connector:a.b.c]", "a.b." + "x" * 49):
        with pytest.raises(ValueError, match=r"provider\.capability\.label"):
            ConnectorRef.parse(odd)
    assert str(ConnectorRef.parse(" [[:connector:github.repos.my-work_1]] ")) == "github.repos.my-work_1"
