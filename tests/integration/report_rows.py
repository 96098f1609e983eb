"""A small, hostile day of work for reports: every number in it is known."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812

CLAIMS = """
    INSERT INTO worker.claims (
        message_id, kind, job, worker_id, state, ticket_at, first_claimed_at, claimed_at, finished_at,
        outcome, error_code, error_message, deaths, history)
    SELECT gen_random_uuid(), 'lens_run', gen_random_uuid(), 'box:1', 'finished',
           at - interval '2.5 seconds', at - interval '2 seconds', at - interval '2 seconds', at,
           c.outcome, c.code, c.message, (c.outcome = 'poison')::integer,
           CASE WHEN c.outcome = 'poison' THEN jsonb_build_array(jsonb_build_object(
               'worker_id', 'box:2', 'from', at - interval '9 seconds', 'to', at - interval '8 seconds',
               'attempt', 1, 'ended', 'death')) ELSE '[]' END
    FROM (VALUES
        (interval '10 hours', 'succeeded', NULL, NULL),
        (interval '6 hours', 'succeeded', NULL, NULL),
        (interval '2 hours', 'succeeded', NULL, NULL),
        (interval '4 hours', 'failed', 'provider.timeout', '</script><script>alert(1)</script>'),
        (interval '4 hours', 'poison', 'worker.poison', '<img src=x onerror=alert(2)> \u202e & "quoted"')
    ) AS c (age, outcome, code, message)
    CROSS JOIN LATERAL (SELECT date_trunc('hour', now() - c.age) + interval '5 minutes' AS at) AS t
"""

CALLS = """
    INSERT INTO worker.provider_calls (
        ended_at, kind, job, provider, model, purpose, duration_ms, tokens_in, tokens_out, error_code,
        cost_usd)
    SELECT now() - c.age, 'lens_run', gen_random_uuid(), 'openai', c.model, 'answer', c.ms, c.tokens_in,
           c.tokens_out, c.code,
           worker.fn_call_cost_usd('openai', c.model, now(), c.tokens_in, 0, 0, c.tokens_out, 0)
    FROM (VALUES
        (interval '1 hour', 'gpt-4o', 100, 1000, 400, NULL),
        (interval '2 hours', 'gpt-4o', 200, 1000, 600, NULL),
        (interval '3 hours', 'gpt-4o', 9000, 0, 0, 'provider.timeout'),
        (interval '4 hours', 'nameless', 300, 10, 10, NULL)
    ) AS c (age, model, ms, tokens_in, tokens_out, code)
"""

WEBHOOKS = """
    WITH sent AS (
        INSERT INTO worker.webhook_deliveries (outbox_id, endpoint, host, state, due_at)
        VALUES (gen_random_uuid(), 'https://a.example/', 'a.example', 'delivered', now()),
               (gen_random_uuid(), 'https://a.example/', 'a.example', 'waiting', now())
        RETURNING outbox_id, state
    )
    INSERT INTO worker.webhook_attempts (outbox_id, number, started_at, duration_ms, status, error_code)
    SELECT s.outbox_id, n, now() - n * interval '1 hour', 50, 204,
           CASE WHEN s.state = 'waiting' THEN 'http.status' END
    FROM sent s CROSS JOIN generate_series(1, 2) AS n WHERE s.state = 'delivered' OR n = 1
"""


def fill(connection: Connection) -> None:
    """Write the day; its claims ended at five past some hours."""
    for statement in (CLAIMS, CALLS, WEBHOOKS):
        connection.cursor().execute(statement)
