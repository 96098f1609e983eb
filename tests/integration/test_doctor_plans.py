"""`lf-worker doctor` names statements that the database can't run, and words that it doesn't take."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.cli.doctor.finding import Finding, Level, Patient
from app.cli.doctor.plans.check import check_platform_code, check_statements
from app.cli.doctor.plans.given import FROM_PEOPLE, GIVEN
from app.cli.doctor.plans.sources import own_functions
from app.cli.doctor.plans.values import Column, check_values, find_columns
from app.cli.doctor.plans.written import written_by
from app.settings import load_settings
from tests.databases import PROFILES, Databases, connect_as_worker
from tests.integration.doctor_checks import findings_of
from tests.sql import call

pytestmark = pytest.mark.usefixtures("dsn")

CHECKS = (check_statements, check_platform_code, check_values)


def worse() -> list[Finding]:
    return [finding for finding in findings_of(*CHECKS) if finding.level is not Level.FINE]


def the_one(area: str) -> Finding:
    (finding,) = worse()
    assert finding.area == area
    assert finding.why
    assert finding.mend
    return finding


def run(session: Connection, statement: str) -> None:
    session.cursor().execute(statement)


def drop_unique(session: Connection, table: str, *columns: str) -> None:
    """Drop the unique index or constraint of exactly these columns."""
    index = call(
        session,
        "SELECT i.indexrelid::regclass::text FROM pg_index i"
        " WHERE i.indrelid = %s::regclass AND i.indisunique AND %s = ARRAY("
        "SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place)",
        table,
        list(columns),
    )
    assert index, f"{table} has no unique index on {columns}"
    constraint = call(session, "SELECT conname FROM pg_constraint WHERE conindid = %s::regclass", index)
    run(session, f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {index}")


@pytest.mark.parametrize("platform_profile", PROFILES)
def test_all_that_the_worker_does_can_be_planned(connection: Connection) -> None:
    findings = findings_of(*CHECKS)
    assert [(finding.area, finding.level) for finding in findings] == [
        ("statements", Level.FINE),
        ("platform's code", Level.FINE),
        ("values", Level.FINE),
    ]
    assert "can't be judged" not in findings[0].what


@pytest.mark.parametrize(
    ("table", "columns", "function"),
    [
        ("battles.submissions", ("battle_id", "contender_id"), "worker.fn_worker_upsert_battle_submission("),
        ("lenses.workflow_node_results", ("run_id", "node_id"), "worker.fn_write_node_results("),
        (
            "public.user_oauth_connections",
            ("lenser_id", "workspace_id", "ref"),
            "worker.fn_oauth_upsert_connection(",
        ),
    ],
    ids=["submissions", "node results", "connections"],
)
def test_a_conflict_target_without_an_index_is_named(
    connection: Connection, table: str, columns: tuple[str, ...], function: str
) -> None:
    drop_unique(connection, table, *columns)
    finding = the_one("statements")
    assert finding.level is Level.BROKEN
    assert finding.what.startswith(
        "42P10 there is no unique or exclusion constraint matching the ON CONFLICT specification, in "
        + function
    )
    assert "unique index" in finding.mend


def test_an_index_that_holds_for_fewer_rows_than_the_statement_says_is_named(connection: Connection) -> None:
    drop_unique(connection, "lenses.workflow_node_results", "run_id", "node_id")
    run(
        connection,
        "CREATE UNIQUE INDEX ON lenses.workflow_node_results (run_id, node_id) WHERE status <> 'invalidated'",
    )
    assert "worker.fn_write_node_results(" in the_one("statements").what


@pytest.mark.parametrize(
    ("statement", "sqlstate", "named"),
    [
        (
            "ALTER TABLE execution.runs RENAME COLUMN cost_estimate TO estimate",
            '42703 column "cost_estimate" of relation "runs" does not exist',
            "worker.note_run_cost(uuid) line 6: UPDATE execution.runs",
        ),
        (
            "ALTER TABLE lenses.workflow_run_chains RENAME TO run_chains",
            '42P01 relation "lenses.workflow_run_chains" does not exist',
            "worker.fn_start_child(",
        ),
        (
            "ALTER TABLE lenses.workflow_runs ALTER COLUMN recursion_depth DROP DEFAULT,"
            " DROP CONSTRAINT IF EXISTS workflow_runs_recursion_depth_check,"
            " ALTER COLUMN recursion_depth TYPE timestamptz USING NULL",
            '42804 column "recursion_depth" is of type timestamp with time zone but expression is of type'
            " integer",
            "worker.fn_start_workflow_for_rule(",
        ),
        (
            "ALTER FUNCTION public.fn_insert_notification RENAME TO fn_notify",
            "42883 function fn_insert_notification(",
            "worker.fn_take_vote_action(",
        ),
        (
            "ALTER TYPE battles.battle_status_enum RENAME VALUE 'scoring' TO 'tallying'",
            '22P02 invalid input value for enum battles.battle_status_enum: "scoring"',
            "worker.fn_close_battle(uuid) line",
        ),
        (
            "ALTER TABLE execution.requests RENAME COLUMN byok_key_ref_id TO key_id",
            "42703 column q.byok_key_ref_id does not exist",
            "worker.kinds, lens_run.call line 1",
        ),
    ],
    ids=["column", "table", "type", "function", "enum value", "a kind's statement"],
)
def test_what_the_platform_lacks_is_named_with_the_statement_that_needs_it(
    connection: Connection, statement: str, sqlstate: str, named: str
) -> None:
    run(connection, statement)
    whats = [finding.what for finding in worse() if finding.area == "statements"]
    (what,) = [what for what in whats if what.startswith(sqlstate) and named in what] or [str(whats)]
    assert what.startswith(sqlstate)


def test_a_function_that_only_python_calls_is_missed_where_it_is_called(connection: Connection) -> None:
    run(connection, "ALTER FUNCTION public.fn_worker_persist_execution_artifacts RENAME TO fn_persist")
    whats = [finding.what for finding in worse()]
    (what,) = [what for what in whats if "app/platform/lens_runs.py:" in what]
    assert what.startswith("42883 function fn_worker_persist_execution_artifacts(p_run_id => ")


def test_one_fault_in_many_statements_is_one_finding_with_the_first_places(connection: Connection) -> None:
    run(connection, "ALTER TABLE agents.team_runs RENAME COLUMN approval_status TO approval")
    whats = [finding.what for finding in worse() if finding.area == "statements"]
    assert len([what for what in whats if "column t.approval_status does not exist" in what]) == 1
    assert len(whats) < 6


@pytest.mark.parametrize(
    ("table", "column", "allowed", "refused", "writer"),
    [
        (
            "execution.runs",
            "status",
            "'queued', 'succeeded', 'failed', 'canceled'",
            "running",
            "worker.fn_claim_lens_run(uuid)",
        ),
        ("agents.memories", "scope", "'conversation', 'global'", "project", "the worker's code"),
        ("public.notifications", "type", "'battle_won', 'agent_update'", "system", "the worker's code"),
    ],
    ids=["in a statement", "from Python", "through a function"],
)
def test_a_word_that_its_column_does_not_take_is_named(
    connection: Connection, table: str, column: str, allowed: str, refused: str, writer: str
) -> None:
    run(connection, f"ALTER TABLE {table} ADD CHECK ({column} IN ({allowed})) NOT VALID")
    refusals = [finding for finding in worse() if finding.what.startswith(f"{table}.{column} doesn't take")]
    (finding,) = [finding for finding in refusals if f"'{refused}'" in finding.what.partition(":")[0]]
    assert finding.level is Level.BROKEN
    assert "23514 CHECK (" in finding.what
    assert writer in finding.what


def test_an_enum_that_lacks_a_word_which_is_only_chosen_at_run_time_is_named(connection: Connection) -> None:
    run(connection, "ALTER TYPE battles.submission_status_enum RENAME VALUE 'submitted' TO 'handed_in'")
    whats = [finding.what for finding in worse() if finding.area == "values"]
    assert len(whats) == 1
    assert whats[0].startswith(
        "battles.submissions.status doesn't take 'submitted': 22P02 invalid input value"
    )
    assert "worker.fn_worker_upsert_battle_submission(" in whats[0]


def test_a_trigger_of_the_platform_that_would_refuse_our_writing_is_a_warning(connection: Connection) -> None:
    run(
        connection,
        """
        CREATE FUNCTION execution.fn_audit_run() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.status = 'succeeded' THEN
                INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id)
                VALUES ('run.ended', 'execution', 'runs', NEW.run_id);
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER audit_run AFTER UPDATE ON execution.runs
        FOR EACH ROW EXECUTE FUNCTION execution.fn_audit_run();
        """,
    )
    finding = the_one("platform's code")
    assert finding.level is Level.WARNING
    assert finding.what.startswith('42703 record "new" has no field "run_id", in execution.fn_audit_run()')


def test_code_of_the_platform_that_can_not_be_read_is_no_finding(connection: Connection) -> None:
    run(
        connection,
        """
        CREATE FUNCTION execution.fn_odd() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            odd CONSTANT text NOT NULL DEFAULT 'x';
            n integer;
        BEGIN
            <<outer>>
            FOR n IN REVERSE 10 .. 1 BY 3 LOOP
                EXIT outer WHEN n = 4;
                CONTINUE outer WHEN n > 4;
            END LOOP outer;
            CASE n WHEN 1, 2 THEN NULL; ELSE n := CASE WHEN n > 3 THEN 1 ELSE 2 END; END CASE;
            ASSERT n > 0, 'no';
            GET DIAGNOSTICS n = ROW_COUNT;
            RETURN NEW;
        EXCEPTION WHEN unique_violation OR foreign_key_violation THEN
            RAISE NOTICE 'odd %: %', n, SQLERRM USING HINT = odd;
            RETURN NULL;
        END $$;
        CREATE TRIGGER odd BEFORE UPDATE ON execution.runs FOR EACH ROW EXECUTE FUNCTION execution.fn_odd();
        """,
    )
    assert worse() == []


def test_nothing_is_written_so_a_database_that_only_reads_can_be_looked_at(connection: Connection) -> None:
    name = call(connection, "SELECT current_database()")
    run(connection, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert worse() == []
    assert "can't be judged" not in findings_of(check_statements)[0].what


def test_what_somebody_has_locked_is_no_fault(dsn: str, connection: Connection) -> None:
    with closing(connect_as_worker(dsn)) as other, other:
        other.autocommit = False
        run(
            other,
            "LOCK TABLE audit.moderation_decisions, lenses.workflow_run_chains IN ACCESS EXCLUSIVE MODE",
        )
        assert worse() == []
        other.rollback()


def test_a_role_that_may_not_look_says_so(
    databases: Databases, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with databases.worker_role(dsn) as role_dsn:
        monkeypatch.setenv("DATABASE_URL", role_dsn)
        said = {finding.what for finding in findings_of(*CHECKS)}
    assert said == {"not looked at: only the platform's owner can"}


@pytest.mark.parametrize("platform_profile", PROFILES)
def test_every_column_of_listed_words_is_known_with_what_it_gets(dsn: str, connection: Connection) -> None:
    """What a statement gets from Python can't be read off it: it has to be told."""
    settings = load_settings()
    patient = Patient(connection, settings)
    written = [each for function in own_functions(patient) for each in written_by(function)]
    assert len({each.table for each in written}) > 20
    given = {f"{each.table}.{each.column}" for each in written if each.is_given}
    columns = {column.name: column for column in find_columns(patient, given)}
    with connection.cursor() as tx:
        tx.execute("BEGIN")
        listed = {name for name, column in columns.items() if is_listed(tx, column)}
        tx.execute("ROLLBACK")
    assert {"lenses.workflow_runs.status", "battles.submissions.status"} <= listed
    assert sorted(listed - set(GIVEN) - set(FROM_PEOPLE)) == []


def is_listed(tx: Any, column: Column) -> bool:
    """Whether a column of words takes only some: it refuses one that nobody ever thought of."""
    is_words = column.type == "text" or column.type.endswith("_enum")
    return is_words and column.refuses(tx, "nobodyeverthoughtofit") != ""
