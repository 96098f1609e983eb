"""The statements that every job causes, each as a function of the session that can be counted by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

from app.local.seeding import seeded_id
from tests.databases import connect_as_worker
from tests.sql import Connection, call

#: What a job causes, in this order, as calls of the functions below.
STEPS = ("enqueue", "take", "open", "finish", "settle", "tell", "acknowledge")

#: A message that was handed out later than this may be one that its process has yet to hear of.
OLDER_SECONDS = 0.1

_FUNCTIONS = """
    CREATE TEMPORARY TABLE at_work (run uuid, message uuid, delivery integer);
    INSERT INTO at_work VALUES (NULL);
    INSERT INTO worker.processes VALUES (%(owner)s, 'test', 1, now(), 'infinity');

    CREATE FUNCTION pg_temp.enqueue() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE v_run uuid;
    BEGIN
        WITH requests AS (
            INSERT INTO execution.requests (
                requester_lenser_id, origin_type, model_id, input_snapshot, funding_source)
            SELECT %(requester)s, 'web', m.id, '{"prompt": "hi"}', 'platform_credit'
            FROM ai.models m WHERE m.key = 'gpt-4o' RETURNING id, model_id)
        INSERT INTO execution.runs (request_id, model_id, created_at)
        SELECT id, model_id, clock_timestamp() FROM requests RETURNING id INTO v_run;
        UPDATE at_work SET run = v_run;
    END $$;
    CREATE FUNCTION pg_temp.take() RETURNS void LANGUAGE sql AS $$
        UPDATE at_work SET message = t.message_id::uuid, delivery = t.delivery
        FROM worker.take_messages(%(owner)s, ARRAY['default', 'lens_runs', 'sweeps'], ARRAY[1, 1, 1],
                                  ARRAY[0, 0, 0], 1) AS t
    $$;
    CREATE FUNCTION pg_temp.open() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE v_outcome text;
    BEGIN
        SELECT o.outcome INTO v_outcome FROM at_work w
        CROSS JOIN LATERAL worker.open_claim(
            w.message, 'lens_run', w.run, 'test', 3, 60, w.delivery) AS o;
        ASSERT v_outcome = 'claimed', v_outcome;
    END $$;
    CREATE FUNCTION pg_temp.finish() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE v_verdict text;
    BEGIN
        SELECT worker.finish_claim(w.message, 1, 'succeeded') INTO v_verdict FROM at_work w;
        ASSERT v_verdict = 'ours', v_verdict;
        PERFORM worker.complete_lens_run(w.run, 3, 5, 'hello', '{}', 10, NULL) FROM at_work w;
    END $$;
    CREATE FUNCTION pg_temp.settle() RETURNS void LANGUAGE sql AS $$
        SELECT worker.settle_passage(w.message, 1, 8, 0.01) FROM at_work w
    $$;
    CREATE FUNCTION pg_temp.tell() RETURNS void LANGUAGE sql AS $$
        SELECT worker.record_calls('[{"provider": "openai", "model": "gpt-4o", "key": "platform",
                                      "owner": "ada", "calls": 1, "failures": 0}]', 60, 10, 0.5, 15)
    $$;
    CREATE FUNCTION pg_temp.acknowledge() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        ASSERT (SELECT worker.acknowledge_messages(%(owner)s, ARRAY[w.message], ARRAY[w.delivery])
                FROM at_work w) = 1;
    END $$;
    CREATE FUNCTION pg_temp.renew(p_recent_seconds double precision) RETURNS void LANGUAGE sql AS $$
        SELECT worker.renew_lease(%(owner)s, 'test', 1, 30);
        SELECT worker.rescue_messages(30, p_recent_seconds IS NULL);
        SELECT worker.return_forgotten_messages(%(owner)s, '{}', '{}', %(older_seconds)s, p_recent_seconds);
        SELECT worker.raise_floors(ARRAY['default', 'lens_runs', 'sweeps'], p_recent_seconds)
    $$;
"""

#: Jobs one after the other, each in a transaction, with the upkeep of a process now and then.
_RUSH = """
    DO $do$ BEGIN
        FOR i IN 1..{jobs} LOOP
            {steps}
            COMMIT;
            IF i %% {jobs_per_renewal} = 0 THEN
                PERFORM pg_temp.renew(0.2);
                COMMIT;
            END IF;
        END LOOP;
    END $do$
"""
#: A job that needn't wait is sent with a time of a second ago: those that were done by now are below.
_LET_FLOORS_CATCH_UP = "UPDATE worker.queue_floors SET floor = now() - interval '1 second'"


class HotPath:
    """Does lens runs one after the other, without a worker."""

    def __init__(self, session: Connection) -> None:
        self._session = session
        session.cursor().execute(
            _FUNCTIONS,
            {
                "owner": str(uuid4()),
                "requester": str(seeded_id("person", "ada")),
                "older_seconds": OLDER_SECONDS,
            },
        )

    def do_jobs(self, jobs: int, *, jobs_per_renewal: int = 50) -> None:
        """Do so many jobs, each step in this session's order, each job in a transaction."""
        steps = " ".join(f"PERFORM pg_temp.{step}();" for step in STEPS)
        statement = _RUSH.format(jobs=jobs, steps=steps, jobs_per_renewal=jobs_per_renewal)
        self._session.cursor().execute(statement, ())

    def repeat(self, step: str, times: int) -> None:
        """Do one step so often, each time in a transaction."""
        self._session.cursor().execute(
            f"DO $$ BEGIN FOR i IN 1..{times} LOOP PERFORM pg_temp.{step}(); COMMIT; END LOOP; END $$"
        )

    def analyze(self) -> None:
        """Tell the planner what there is now, as autovacuum does."""
        self._session.cursor().execute(
            "ANALYZE dramatiq.queue, worker.claims, worker.buckets, worker.passages"
        )

    def pages_of_a_job(self) -> dict[str, int]:
        """How many pages each step of one job looks at."""
        self._session.cursor().execute(_LET_FLOORS_CATCH_UP)
        for step in STEPS:  # the plans of this session are made, and its catalogue is read, before it counts
            self.pages_of(f"SELECT pg_temp.{step}()")
        return {step: self.pages_of(f"SELECT pg_temp.{step}()") for step in STEPS}

    def pages_of_a_renewal(self, recent_seconds: float | None) -> int:
        """How many pages the renewal of a lease looks at that looks so far back, or at everything.

        How many jobs are done in the time that it looks back to is for the machine to say: there are none.
        """
        self._session.cursor().execute("SELECT pg_sleep(%s)", (OLDER_SECONDS + (recent_seconds or 0.0),))
        self._session.cursor().execute(_LET_FLOORS_CATCH_UP)
        statement = f"SELECT pg_temp.renew({'NULL' if recent_seconds is None else recent_seconds})"
        self.pages_of(statement)
        return self.pages_of(statement)

    def pages_of(self, statement: str) -> int:
        """How many pages a statement looks at."""
        plan: Any = call(self._session, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@contextmanager
def long_reader(dsn: str) -> Iterator[None]:
    """A transaction keeps its view of the database, so that nothing that dies meanwhile can be removed."""
    with closing(connect_as_worker(dsn)) as session:
        row = session.cursor()
        row.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dramatiq.queue")
        yield
