import json
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2.errorcodes import INSUFFICIENT_PRIVILEGE, RAISE_EXCEPTION
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run
from app.local.seeds import KEYS
from tests.sql import call, sqlstate_of

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


WORKER_FUNCTIONS = {
    "execution.fn_claim_queued_run()": "TABLE(run_id uuid, request_id uuid, requester_lenser_id uuid, "
    "workspace_id uuid, lens_id uuid, version_id uuid, model_id uuid, model_key text, provider_key text, "
    "funding_source text, byok_key_ref_id uuid, input_snapshot jsonb)",
    "public.fn_worker_claim_queued_run()": "jsonb",
    "execution.fn_complete_execution_run(p_run_id uuid, p_status text, "
    "p_token_input integer DEFAULT NULL::integer, p_token_output integer DEFAULT NULL::integer, "
    "p_credit_cost bigint DEFAULT NULL::bigint, p_billing_status text DEFAULT 'free'::text, "
    "p_response_text text DEFAULT NULL::text, p_response_meta jsonb DEFAULT '{}'::jsonb, "
    "p_error_code text DEFAULT NULL::text, p_error_message text DEFAULT NULL::text, "
    "p_latency_ms integer DEFAULT NULL::integer)": "void",
    "public.fn_worker_complete_execution_run(p_run_id uuid, p_status text, "
    "p_token_input integer DEFAULT NULL::integer, p_token_output integer DEFAULT NULL::integer, "
    "p_credit_cost bigint DEFAULT NULL::bigint, p_billing_status text DEFAULT NULL::text, "
    "p_response_text text DEFAULT NULL::text, p_response_meta jsonb DEFAULT NULL::jsonb, "
    "p_error_code text DEFAULT NULL::text, p_error_message text DEFAULT NULL::text, "
    "p_latency_ms integer DEFAULT NULL::integer)": "void",
    "execution.fn_persist_execution_artifacts(p_run_id uuid, p_lenser_id uuid, p_workspace_id uuid, "
    "p_ai_model_id uuid, p_kind text, p_content_text text DEFAULT NULL::text, "
    "p_content_json jsonb DEFAULT NULL::jsonb, p_media_ids uuid[] DEFAULT '{}'::uuid[])": "uuid",
    "public.fn_worker_persist_execution_artifacts(p_run_id uuid, p_lenser_id uuid, p_workspace_id uuid, "
    "p_ai_model_id uuid, p_kind text, p_content_text text DEFAULT NULL::text, "
    "p_content_json jsonb DEFAULT NULL::jsonb, p_media_ids uuid[] DEFAULT NULL::uuid[])": "void",
    "public.fn_worker_fail_execution_run(p_run_id uuid, p_error_code text DEFAULT 'provider_failed'::text, "
    "p_error_message text DEFAULT 'Provider reported failure'::text)": "void",
    "public.fn_worker_render_template(p_template_body text, p_inputs jsonb DEFAULT '{}'::jsonb)": "text",
    "public.fn_worker_render_template(p_version_id uuid, p_inputs jsonb DEFAULT '{}'::jsonb)": "text",
    "public.fn_worker_get_lens_template_body(p_lens_id uuid, p_version_id uuid DEFAULT NULL::uuid)": "text",
    "ai.fn_decrypt_api_key(p_key_id uuid)": "text",
    "public.fn_worker_decrypt_api_key(p_key_id uuid)": "text",
    "public.fn_worker_upsert_heartbeat(p_worker_id text, p_worker_type text, "
    "p_metadata jsonb DEFAULT '{}'::jsonb)": "void",
}


@pytest.mark.parametrize("claims", ["", '{"role":"authenticated"}', '{"sub":"x"}'])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT public.fn_worker_claim_queued_run()",
        "SELECT public.fn_worker_decrypt_api_key(gen_random_uuid())",
    ],
)
def test_claiming_and_decrypting_want_the_role_claim_even_from_the_owner(
    connection: Connection, statement: str, claims: str
) -> None:
    call(connection, "SELECT set_config('request.jwt.claims', %s, false)", claims)
    with pytest.raises(psycopg2.Error, match=r"^Forbidden: only service_role") as raised:
        call(connection, statement)
    assert raised.value.pgcode == RAISE_EXCEPTION


@BOTH_PLATFORMS
def test_the_workers_functions_have_the_real_platforms_signatures(connection: Connection) -> None:
    with connection.cursor() as row:
        row.execute(
            "SELECT format('%%s.%%s(%%s)', n.nspname, p.proname, pg_get_function_arguments(p.oid)), "
            "pg_get_function_result(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
            "WHERE n.nspname IN ('public', 'execution', 'ai') AND p.proname = ANY (%s)",
            ([signature.split("(")[0].split(".")[1] for signature in WORKER_FUNCTIONS],),
        )
        assert dict(row.fetchall()) == WORKER_FUNCTIONS


@BOTH_PLATFORMS
def test_only_the_service_role_may_call_the_workers_functions(connection: Connection) -> None:
    with connection.cursor() as row:
        row.execute(
            "SELECT p.oid::regprocedure::text, r.name FROM pg_proc p "
            "CROSS JOIN unnest(ARRAY['public', 'anon', 'authenticated', 'service_role']) AS r (name) "
            "WHERE (p.proname LIKE 'fn\\_worker\\_%%' OR p.proname = ANY (%s)) "
            "AND p.pronamespace <> 'worker'::regnamespace "
            "AND has_function_privilege(r.name, p.oid, 'EXECUTE')",
            ([signature.split("(")[0].split(".")[1] for signature in WORKER_FUNCTIONS],),
        )
        grants = row.fetchall()
    assert len(grants) >= len(WORKER_FUNCTIONS)
    assert {role for _, role in grants} == {"service_role"}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_claim_of_the_service_role_does_not_help_other_database_roles(
    connection: Connection, role: str
) -> None:
    call(connection, f"SET ROLE {role}; SELECT 1")
    refused = sqlstate_of(connection, "SELECT public.fn_worker_claim_queued_run()")
    assert refused == INSUFFICIENT_PRIVILEGE


def test_the_service_role_claims_but_does_not_see_keys(connection: Connection, seeded: Seeded) -> None:
    run_id = enqueue_lens_run(connection, model=None, inputs={})
    call(connection, "SET ROLE service_role; SELECT 1")
    assert UUID(call(connection, "SELECT public.fn_worker_claim_queued_run()")["run_id"]) == run_id
    assert sqlstate_of(connection, "SELECT 1 FROM vault.secrets") == INSUFFICIENT_PRIVILEGE


def test_an_active_key_is_decrypted_and_a_revoked_one_is_not(connection: Connection, seeded: Seeded) -> None:
    statement = "SELECT public.fn_worker_decrypt_api_key(%s)"
    assert call(connection, statement, seeded.keys["active"]) == KEYS["active"].secret
    for key_id in (seeded.keys["revoked"], uuid4()):
        with pytest.raises(psycopg2.Error, match="Key not found or revoked") as raised:
            call(connection, statement, key_id)
        assert raised.value.pgcode == RAISE_EXCEPTION


def test_a_key_whose_secret_is_gone_is_reported(connection: Connection, seeded: Seeded) -> None:
    call(connection, "DELETE FROM vault.secrets WHERE name = 'active' RETURNING 1")
    with pytest.raises(psycopg2.Error, match="Failed to decrypt key from vault"):
        call(connection, "SELECT public.fn_worker_decrypt_api_key(%s)", seeded.keys["active"])


def test_a_heartbeat_replaces_the_one_before(connection: Connection) -> None:
    for capabilities in ([], ["lens_run"]):
        given = json.dumps({"capabilities": capabilities})
        call(connection, "SELECT public.fn_worker_upsert_heartbeat('w1', 'lens', %s::jsonb)", given)
    assert call(connection, "SELECT metadata FROM platform.api_worker_heartbeats") == {
        "capabilities": ["lens_run"]
    }
    health = "SELECT to_jsonb(h) FROM platform.fn_get_worker_health() h"
    assert call(connection, health)["is_healthy"] is True
    late = "UPDATE platform.api_worker_heartbeats SET last_seen_at = now() - interval '31 s' RETURNING 1"
    call(connection, late)
    assert call(connection, health)["is_healthy"] is False


@pytest.mark.parametrize(
    ("switch", "stops_battle_1"),
    [
        ("'system', NULL, NULL, NULL", True),
        ("'battle', %(battle_1)s, NULL, NULL", True),
        ("'battle', gen_random_uuid(), NULL, NULL", False),
        ("'run', %(battle_1)s, NULL, NULL", False),
        ("'system', NULL, now(), NULL", False),
        ("'system', NULL, NULL, now() - interval '1 s'", False),
        ("'system', NULL, NULL, now() + interval '1 h'", True),
    ],
)
def test_a_kill_switch_stops_its_target_or_everything(
    connection: Connection, seeded: Seeded, switch: str, stops_battle_1: bool
) -> None:
    battle_1 = UUID(int=1)
    with connection.cursor() as row:
        row.execute(
            "INSERT INTO admin.kill_switches (operator_id, reason, scope, target_id, lifted_at, expires_at) "
            f"VALUES (%(operator)s, 'test', {switch})",
            {"operator": seeded.people["grace"], "battle_1": battle_1},
        )
    assert call(connection, "SELECT public.fn_kill_switch_active('battle', %s)", battle_1) is stops_battle_1
