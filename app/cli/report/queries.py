"""Every question that a report asks of the database.

Each takes the period's %(begin)s and %(step)s (seconds); `step` in a row counts from 0.
"""

_STEP = "floor(extract(epoch FROM {moment} - %(begin)s) / %(step)s)::integer AS step"


def _percentiles(name: str, milliseconds: str, condition: str = "true") -> str:
    within = f"WITHIN GROUP (ORDER BY {milliseconds}) FILTER (WHERE {condition})"
    return f"percentile_cont(0.5) {within} AS {name}_p50_ms, percentile_cont(0.99) {within} AS {name}_p99_ms"


#: How jobs of each kind ended, per step and over the whole period (step null).
ENDS = f"""
    SELECT kind, {_STEP.format(moment="finished_at")},
           count(*) FILTER (WHERE outcome IN ('succeeded', 'handed_over')) AS done,
           count(*) FILTER (WHERE outcome IN ('failed', 'poison')) AS failed,
           {_percentiles("duration", "extract(epoch FROM finished_at - claimed_at) * 1000")}
    FROM worker.claims WHERE finished_at >= %(begin)s
    GROUP BY GROUPING SETS ((kind, 2), (kind)) ORDER BY 1, 2
"""

#: How long jobs of each kind waited for a worker, likewise.
PICKUPS = f"""
    SELECT kind, {_STEP.format(moment="first_claimed_at")},
           {_percentiles("pickup", "extract(epoch FROM first_claimed_at - ticket_at) * 1000")}
    FROM worker.claims WHERE first_claimed_at >= %(begin)s
    GROUP BY GROUPING SETS ((kind, 2), (kind)) ORDER BY 1, 2
"""

#: Calls to each provider, likewise. Latency is of answers and orders that succeeded.
CALLS = f"""
    SELECT provider, {_STEP.format(moment="ended_at")}, count(*) AS calls, count(error_code) AS errors,
           {_percentiles("latency", "duration_ms", "error_code IS NULL AND purpose <> 'poll'")}
    FROM worker.provider_calls WHERE ended_at >= %(begin)s
    GROUP BY GROUPING SETS ((provider, 2), (provider)) ORDER BY 1, 2
"""

MODELS = """
    SELECT provider, model, count(*) AS calls, count(error_code) AS errors,
           sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out, trim_scale(sum(cost_usd)) AS cost_usd
    FROM worker.provider_calls WHERE ended_at >= %(begin)s AND purpose <> 'poll'
    GROUP BY provider, model ORDER BY calls DESC, provider, model
"""

PROVIDER_ERRORS = """
    SELECT provider, error_code AS code, count(*) AS count
    FROM worker.provider_calls WHERE ended_at >= %(begin)s AND error_code IS NOT NULL
    GROUP BY provider, error_code ORDER BY provider, count DESC, code
"""

#: Requests to the receivers of webhooks, per step; an error is anything but a 2xx.
WEBHOOK_STEPS = f"""
    SELECT {_STEP.format(moment="started_at")},
           count(*) FILTER (WHERE error_code IS NULL) AS done, count(error_code) AS failed
    FROM worker.webhook_attempts WHERE started_at >= %(begin)s GROUP BY 1 ORDER BY 1
"""

WEBHOOK_HOSTS = f"""
    SELECT d.host, count(*) AS requests, count(a.error_code) AS errors,
           count(DISTINCT d.outbox_id) FILTER (WHERE d.state = 'delivered') AS delivered,
           count(DISTINCT d.outbox_id) FILTER (WHERE d.state IN ('waiting', 'sending')) AS waiting,
           count(DISTINCT d.outbox_id) FILTER (WHERE d.state = 'dead') AS dead,
           {_percentiles("latency", "a.duration_ms", "a.error_code IS NULL")}
    FROM worker.webhook_attempts a JOIN worker.webhook_deliveries d ON d.outbox_id = a.outbox_id
    WHERE a.started_at >= %(begin)s GROUP BY d.host ORDER BY requests DESC, d.host
"""

LETTER_GROUPS = """
    SELECT kind, error_code AS code, count(*) AS count, max(finished_at) AS newest_at
    FROM worker.dead_letters WHERE finished_at >= %(begin)s
    GROUP BY kind, error_code ORDER BY count DESC, kind, code
"""

NEWEST_LETTERS = """
    SELECT kind, job, error_code AS code, error_message AS message, attempt AS attempts, deaths, finished_at
    FROM worker.dead_letters WHERE finished_at >= %(begin)s ORDER BY finished_at DESC LIMIT %(letters)s
"""

#: Attempts of each worker: mean number at work in each step.
_ATTEMPTS = """
    SELECT c.worker_id, c.claimed_at AS began, coalesce(c.finished_at, now()) AS ended, NULL AS how
    FROM worker.claims c
    WHERE c.state IN ('running', 'finished') AND coalesce(c.finished_at, now()) >= %(begin)s
    UNION ALL
    SELECT h.worker_id, h."from", h."to", h.ended
    FROM worker.claims c
    CROSS JOIN jsonb_to_recordset(c.history)
        AS h (worker_id text, "from" timestamptz, "to" timestamptz, ended text)
    WHERE coalesce(c.finished_at, now()) >= %(begin)s AND h."to" >= %(begin)s
"""

WORKER_LOADS = f"""
    WITH attempts AS ({_ATTEMPTS}), steps AS (
        SELECT s.step, %(begin)s + s.step * %(step)s * interval '1 second' AS began,
               %(begin)s + (s.step + 1) * %(step)s * interval '1 second' AS ended
        FROM generate_series(0, %(steps)s - 1) AS s (step)
    )
    SELECT a.worker_id, s.step,
           sum(extract(epoch FROM least(a.ended, s.ended) - greatest(a.began, s.began)))::float
               / %(step)s AS load
    FROM attempts a JOIN steps s ON a.began < s.ended AND a.ended > s.began
    GROUP BY a.worker_id, s.step ORDER BY a.worker_id, s.step
"""

WORKER_DEATHS = f"""
    SELECT worker_id, {_STEP.format(moment="ended")}, count(*) AS deaths
    FROM ({_ATTEMPTS}) AS attempts WHERE how = 'death' GROUP BY 1, 2 ORDER BY 1, 2
"""
