"""Commands print what people and providers wrote as it is, whatever it looks like."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.sql import Connection

runner = CliRunner(env={"COLUMNS": "250"})
WORDS = "[/red] [b]:cat:"

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        (
            "INSERT INTO worker.budgets (owner, period, limit_usd) VALUES (%s, 'day', 1)",
            "budgets list",
        ),
        (
            "INSERT INTO worker.budgets (owner, period, limit_usd) VALUES (%s, 'day', 0)",
            "status",
        ),
        (
            "INSERT INTO worker.model_prices (provider, model, valid_from, usd_per_image, source)"
            " VALUES ('acme', %s, '2026-01-01', 1, 'test')",
            "prices list",
        ),
        (
            "INSERT INTO worker.provider_limits (provider, model, concurrency) VALUES ('acme', %s, 1)",
            "limits list",
        ),
        (
            "INSERT INTO worker.provider_pauses VALUES ('acme', %s, 'platform', now() + interval '1 hour')",
            "status",
        ),
    ],
    ids=["budgets", "spent-budgets", "prices", "limits", "pauses"],
)
def test_names_that_look_like_markup(connection: Connection, statement: str, command: str) -> None:
    connection.cursor().execute(statement, (WORDS,))
    assert WORDS in runner.invoke(app, command.split(), catch_exceptions=False).output
