"""`lf-worker prices`: what it shows, takes in and gives out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.cli.doctor.command import examine
from app.cli.main import app
from app.migrations import migrate
from tests.sql import call

runner = CliRunner(env={"COLUMNS": "240"})

OWN = """provider,model,usd_per_million_input,usd_per_million_cached_input,usd_per_second
OpenAI,gpt-4o,2.5,1.25,
runway,gen-4,,,0.05
"""


@pytest.fixture(autouse=True)
def database(dsn: str, connection: Connection) -> None:
    """A migrated database that DATABASE_URL names."""


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["prices", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    rows = (json.loads(line) for line in run("list", "--json", *arguments).splitlines())
    return {f"{row['provider']}/{row['model']}": row for row in rows}


def test_imported_prices_hold_from_their_day_on_beside_the_list(tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    file.write_text(OWN)
    assert "2 prices imported" in run("import", str(file), "--valid-from", "2026-05-01")
    before, after = listed("--at", "2026-04-30"), listed("--at", "2026-05-01")
    assert (before["openai/gpt-4o"]["usd_per_million_input"], before["openai/gpt-4o"]["source"]) == (
        "5",
        "list",
    )
    assert after["openai/gpt-4o"]["usd_per_million_cached_input"] == "1.25"
    assert after["openai/gpt-4o"]["source"] == "ours.csv"
    assert after.keys() - before.keys() == {"runway/gen-4"}
    shown = run("list")
    assert "gen-4" in shown
    assert "0.05" in shown


def test_what_is_exported_is_imported_as_it_was(tmp_path: Path, connection: Connection) -> None:
    table = "SELECT md5(string_agg(p::text, '|' ORDER BY p)) FROM worker.model_prices p"
    before = call(connection, table)
    file = tmp_path / "all.csv"
    file.write_text(run("export"))
    call(connection, "DELETE FROM worker.model_prices WHERE provider <> 'ollama' RETURNING 1")
    run("import", str(file))
    run("import", str(file))
    assert call(connection, table) == before


def test_with_one_row_wrong_nothing_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    file.write_text(OWN + "openai,gpt-4o-mini,cheap,,\n")
    before = run("export")
    result = runner.invoke(app, ["prices", "import", str(file)])
    assert result.exit_code != 0
    assert "line 4, usd_per_million_input" in result.output
    assert run("export") == before


def test_a_file_that_is_not_there_or_no_day_is_told(tmp_path: Path) -> None:
    assert "is no date" in run("list", "--at", "soon", code=2)
    result = runner.invoke(app, ["prices", "import", str(tmp_path / "none.csv")])
    assert "can't read" in str(result.exception)


def test_migrating_again_leaves_the_deployers_prices_alone(
    tmp_path: Path, dsn: str, connection: Connection
) -> None:
    file = tmp_path / "ours.csv"
    file.write_text(OWN)
    run("import", str(file), "--valid-from", "2025-01-01")
    before = run("export")
    assert migrate(dsn) == []
    assert run("export") == before
    assert listed()["openai/gpt-4o"]["usd_per_million_input"] == "2.5"


def test_the_doctor_names_models_that_nobody_has_a_price_for(connection: Connection, tmp_path: Path) -> None:
    connection.cursor().execute(
        """
        INSERT INTO worker.provider_calls (
            ended_at, kind, job, provider, model, purpose, duration_ms, tokens_in, error_code)
        SELECT now() - c.age, 'lens_run', gen_random_uuid(), 'runway', c.model, 'answer', 1, c.tokens, c.error
        FROM (VALUES
            (interval '1 hour', 'gen-4', 5, NULL),
            (interval '2 hours', 'gen-4', 5, NULL),
            (interval '2 hours', 'failing', 0, 'provider.timeout'),
            (interval '2 days', 'old', 5, NULL)
        ) AS c (age, model, tokens, error)
        """
    )
    (told,) = [finding for finding in examine() if finding.area == "prices"]
    assert told.level.name == "WARNING"
    assert told.what == "2 calls since yesterday have no cost: runway/gen-4"
    file = tmp_path / "ours.csv"
    file.write_text("provider,model,usd_per_million_input\nrunway,gen-4,1\n")
    run("import", str(file))
    (told,) = [finding for finding in examine() if finding.area == "prices"]
    assert told.level.name == "FINE"
