"""The numbers of a report are those of the rows they are made from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.report.figures import read_figures
from app.local.platform import Seeded
from tests.integration.report_rows import fill
from tests.sql import call

pytestmark = pytest.mark.usefixtures("seeded")


def test_work_is_counted_by_kind_and_step(connection: Connection) -> None:
    fill(connection)
    figures = read_figures(connection, 24)
    (kind,) = figures.kinds
    assert (kind.kind, kind.total.done, kind.total.failed) == ("lens_run", 3, 2)
    assert sum(step.done for step in kind.steps) == 3
    assert [step.failed for step in kind.steps if step.failed] == [2]
    assert kind.total.pickup.p50_ms == pytest.approx(500)
    assert kind.total.duration.p50_ms == pytest.approx(2_000)
    assert figures.period.steps == len(kind.steps)


def test_providers_models_and_costs_are_of_their_calls(connection: Connection) -> None:
    fill(connection)
    figures = read_figures(connection, 24)
    (provider,) = figures.providers
    assert (provider.provider, provider.total.calls, provider.total.errors) == ("openai", 4, 1)
    assert provider.errors == {"provider.timeout": 1}
    assert provider.total.latency.p50_ms == pytest.approx(200)
    known, unknown = figures.models
    assert (known.model, known.calls, known.tokens_in, known.tokens_out) == ("gpt-4o", 3, 2_000, 1_000)
    assert known.cost_usd == Decimal("0.025")
    assert (unknown.model, unknown.cost_usd) == ("nameless", None)


def test_webhooks_dead_letters_and_workers_are_told(connection: Connection) -> None:
    fill(connection)
    figures = read_figures(connection, 24)
    (host,) = figures.webhook_hosts
    assert (host.host, host.requests, host.errors, host.delivered, host.dead) == ("a.example", 3, 1, 1, 0)
    assert [(group.code, group.count) for group in figures.letter_groups] == [
        ("provider.timeout", 1),
        ("worker.poison", 1),
    ]
    assert {letter.message for letter in figures.newest_letters} >= {"</script><script>alert(1)</script>"}
    first, second = figures.workers
    assert (first.worker_id, second.worker_id) == ("box:1", "box:2")
    assert sum(first.loads) * figures.period.step_seconds == pytest.approx(5 * 2.0)
    assert (sum(first.deaths), sum(second.deaths)) == (0, 1)


def test_what_is_older_than_the_period_is_left_out(connection: Connection) -> None:
    fill(connection)
    call(connection, "UPDATE worker.claims SET finished_at = finished_at - interval '3 days' RETURNING 1")
    call(connection, "UPDATE worker.provider_calls SET ended_at = ended_at - interval '3 days' RETURNING 1")
    figures = read_figures(connection, 24)
    assert [kind.total.done for kind in figures.kinds] == [0]
    assert (figures.providers, figures.models, figures.letter_groups) == ([], [], [])


def test_a_database_without_any_work_has_a_report_too(dsn: str, seeded: Seeded, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", "--out", str(out)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, f"wrote {out}\n")
    page = out.read_text()
    assert "No job was picked up in this time." in page
    assert "No worker was at work in this time." in page
