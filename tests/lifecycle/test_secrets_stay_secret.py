"""Secrets planted everywhere, every kind of work going wrong, and none of them anywhere but at home.

Whoever is called quotes all that it was sent, in whatever way it fails. The real processes log at DEBUG, and
send to Sentry and to a collector.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.sql import SQL, Identifier

from app.cli.demo.runner import demo_environment
from app.local.battles import Contender, enqueue_battle
from app.local.connections import connect_account
from app.local.platform import Seeded, enqueue_lens_run, ensure_model
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from app.settings import environment_names
from tests.doubles.otlp_endpoint import Collector
from tests.doubles.telltale import Telltale
from tests.doubles.telltale_mail import TelltaleMail, telltale_mail
from tests.lifecycle.processes import BIN, ROOT
from tests.sql import call
from tests.waiting import eventually

pytestmark = [pytest.mark.lifecycle, pytest.mark.timeout(300)]

TEXT_PROVIDERS = ("openai", "anthropic", "google", "google_vertex", "mistral", "deepseek")
MEDIA_PROVIDERS = {
    "fal": "image",
    "stability": "image",
    "elevenlabs": "audio",
    "kling": "video",
    "suno": "audio",
}
#: `garbage` is an answer of the wrong shape, which is quoted by whoever complains about it.
WAYS = ("401", "500", "garbage")

#: Columns where a secret is at home: the vault, and what a workflow's author wrote into a node.
HOMES = {
    "vault.secrets": {"secret"},
    "vault.decrypted_secrets": {"secret", "decrypted_secret"},
    "lenses.workflow_nodes": {"config"},
    "worker.run_graphs": {"graph"},
}


class Canaries:
    """Planted secrets by name; none has a form by which a mask would know it."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def plant(self, name: str) -> str:
        return self.planted.setdefault(name, f"canary {name.lower()}/71+zQ".replace(" ", "."))

    def adopt(self, name: str, secret: str) -> str:
        self.planted[name] = secret
        return secret

    def found_in(self, text: str) -> set[str]:
        """The names of those that are in a text, in whatever spelling."""
        return {
            name
            for name, secret in self.planted.items()
            if any(spelling in text for spelling in _spellings(secret))
        }


def _spellings(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])
    for shift in range(3):  # Base64 of something with the secret in it, without what its neighbours change
        packed = base64.b64encode(b"x" * shift + secret.encode()).decode()
        yield packed[4 if shift else 0 : -4]


@pytest.fixture
def telltale() -> Iterator[Telltale]:
    with Telltale() as running:
        yield running


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def mail() -> Iterator[TelltaleMail]:
    with telltale_mail() as running:
        yield running


def environment_of(
    dsn: str, canaries: Canaries, provider: ProviderServer, telltale: Telltale, collector: Collector
) -> dict[str, str]:
    """Every secret a canary, and every service the telltale."""
    local = demo_environment(dsn, provider)
    secret = ("_API_KEY", "_SECRET", "_SERVICE_ROLE_KEY", "FAL_KEY")
    names = [name for name in environment_names() if name.endswith(secret)]
    services = [name for name in provider.environment() if name.endswith("_URL")]
    return {
        **local,
        **{name: canaries.plant(name) for name in names},
        **{name: f"{telltale.url}/{name.lower()}" for name in services},
        "RESEND_BASE_URL": f"{telltale.url}/resend",
        "SLACK_API_BASE_URL": f"{telltale.url}/slack",
        "SUPABASE_URL": telltale.url,
        "CHAINABIT_API_URL": f"{telltale.url}/chainabit",
        "WORKER_RUN_EVENT_TRANSPORT": "rest",
        "WORKER_SERVICE_ROOTS": f"google_oauth={telltale.url}/oauth",
        "WORKER_MAIL_FROM": "LenserFight <no-reply@lenserfight.example>",
        "GOOGLE_OAUTH_CLIENT_ID": "a-client",
        "WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1",
        "WORKER_WEBHOOK_RETRY_DELAYS_SECONDS": "1",
        "WORKER_WEBHOOK_TIMEOUT_MS": "2000",
        "WORKER_PROVIDER_TIMEOUT_MS": "2000",
        "WORKER_JOB_MAX_ATTEMPTS": "2",
        "WORKER_RETRY_MIN_BACKOFF_MS": "10",
        "WORKER_RETRY_MAX_BACKOFF_MS": "50",
        "WORKER_KEY_REJECTION_SECONDS": "0.01",
        "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true",
        "PLATFORM_API_BATTLE_WORKER_ENABLED": "true",
        "SENTRY_DSN": telltale.sentry_dsn,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={quote(canaries.plant('collector'))}",
        "LOG_LEVEL": "DEBUG",
    }


def queue_lens_runs(session: Connection, seeded: Seeded, canaries: Canaries) -> None:
    for provider in TEXT_PROVIDERS:
        for way in WAYS:
            model = f"telltale-{way}-{provider}"
            ensure_model(session, model, provider)
            enqueue_lens_run(session, model=model, inputs={"prompt": "hi"})
    for provider, kind in MEDIA_PROVIDERS.items():
        for way in WAYS:
            model = f"telltale-{way}-{provider}"
            ensure_model(session, model, provider, kind)
            enqueue_lens_run(session, model=model, inputs={"prompt": "hi"}, output_modality=kind)
    call(
        session,
        "SELECT vault.update_secret(id, %s) FROM vault.secrets WHERE name = 'active'",
        canaries.plant("byok"),
    )
    for way in (*WAYS, "429", "reset", "hang"):
        model = f"telltale-{way}-openai"
        ensure_model(session, model, "openai")
        enqueue_lens_run(
            session,
            model=model,
            inputs={"prompt": "hi"},
            funding_source="user_byok_cloud",
            byok_key_id=seeded.keys["active"],
        )


def queue_workflow_runs(session: Connection, canaries: Canaries, telltale: Telltale) -> None:
    text = {"messageTemplate": "hi"}
    fresh, stale = "google.sheets.main", "google.drive.main"
    connect_account(session, fresh, canaries.plant("access"), refresh_token=canaries.plant("refresh"))
    connect_account(
        session,
        stale,
        canaries.plant("stale"),
        refresh_token=canaries.plant("stale-refresh"),
        expires_in=timedelta(seconds=1),
    )
    nodes: list[Mapping[str, object]] = [{"modelId": f"telltale-{way}-openai"} for way in WAYS]
    for way in ("401", "500"):
        secret = canaries.plant(f"webhook-path-{way}").replace("/", "-").replace("+", "-")
        canaries.adopt(f"webhook-path-{way}", secret)
        place = f"{telltale.url}/telltale-{way}"
        nodes += [
            {"nodeType": "slack_notify", "webhookUrl": f"{place}/services/{secret}", **text},
            {"nodeType": "discord_notify", "webhookUrl": f"{place}/api/webhooks/42/{secret}", **text},
        ]
    for ref in (fresh, stale):
        for auth in ({"type": "bearer"}, {"type": "basic"}, {"type": "api_key", "in": "query"}):
            proof = {**auth, "connectorRef": ref, "scopes": []}
            nodes.append({"nodeType": "http_request", "url": f"{telltale.url}/telltale-200", "auth": proof})
    mail = {"to": "ada@example.org", "subject": "hi", "bodyTemplate": "hi"}
    nodes += [{"nodeType": "email_send", "provider": how, **mail} for how in ("smtp", "resend")]
    for config in nodes:
        lens = "greeting" if "modelId" in config else None
        workflow = make_workflow(session, {"only": NodeSeed(config, lens=lens)})
        enqueue_workflow_run(session, workflow.workflow_id, inputs={"name": "Ada", "language": "English"})


def queue_battles_and_webhooks(session: Connection, telltale: Telltale) -> None:
    model = "telltale-401-openai"
    enqueue_battle(session, Contender(model), Contender(model), task_prompt="hi")
    for way in ("401", "500"):
        session.cursor().execute(
            "INSERT INTO audit.webhook_outbox (event_type, payload, target_url) VALUES ('x', '{}', %s)",
            (f"{telltale.url}/telltale-{way}",),
        )


def have_ended(session: Connection) -> bool:
    return bool(
        call(
            session,
            "SELECT count(*) > 0 AND bool_and(finished_at IS NOT NULL)"
            " AND NOT EXISTS (SELECT FROM dramatiq.queue WHERE state IN ('queued', 'consumed')"
            "                 AND queue_name <> 'sweeps') FROM worker.claims",
        )
    )


def whole_database(session: Connection) -> Iterator[tuple[str, str]]:
    """Every row of every table as text, but for the columns that are a secret's home."""
    with session.cursor() as row:
        row.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'v') AND n.nspname !~ '^pg_|^information_schema$'"
        )
        for schema, table in row.fetchall():
            name = f"{schema}.{table}"
            row.execute(
                SQL("SELECT (to_jsonb(t) - %s::text[])::text FROM {}.{} t").format(
                    Identifier(schema), Identifier(table)
                ),
                (list(HOMES.get(name, ())),),
            )
            yield name, "\n".join(text for (text,) in row.fetchall())


def printed(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / "lf-worker"), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_secret_that_everybody_quotes_is_nowhere_to_be_found(
    dsn: str,
    connection: Connection,
    seeded: Seeded,
    provider: ProviderServer,
    telltale: Telltale,
    mail: TelltaleMail,
    collector: Collector,
    tmp_path: Path,
) -> None:
    canaries = Canaries()
    environment = environment_of(dsn, canaries, provider, telltale, collector)
    password = quote(canaries.plant("smtp"), safe="")
    environment["WORKER_SMTP_URL"] = f"smtp://worker:{password}@{mail.address}"
    canaries.adopt("database", urlsplit(dsn).password or "")
    queue_lens_runs(connection, seeded, canaries)
    queue_workflow_runs(connection, canaries, telltale)
    queue_battles_and_webhooks(connection, telltale)
    with Stack(tmp_path, environment, directory=tmp_path) as stack:

        def look() -> bool:
            stack.check()
            return have_ended(connection)

        eventually(look, within_seconds=200, what="the end of all work")
    jobs = [job for (job,) in rows_of(connection, "SELECT job::text FROM worker.claims ORDER BY 1 LIMIT 1")]
    report = tmp_path / "report.html"
    places = dict(whole_database(connection))
    places |= {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    places["sentry"] = b"\n".join(telltale.envelopes).decode()
    places["collector"] = collector.raw.decode("utf-8", "replace")
    places["status"] = printed(environment, "status", "--json")
    places["report printed"] = printed(environment, "report", "--out", str(report))
    places["report"] = report.read_text()
    for job in jobs:
        places[f"jobs show {job}"] = printed(environment, "jobs", "show", job)

    told = {place: found for place, text in places.items() if (found := canaries.found_in(text))}
    assert told == {}, "\n".join(f"{place}: {sorted(found)}" for place, found in sorted(told.items()))
    assert_it_meant_something(canaries, places, telltale)
    assert "smtp" in canaries.found_in(mail.heard.decode())


def rows_of(session: Connection, statement: str) -> list[tuple[str, ...]]:
    with session.cursor() as row:
        row.execute(statement)
        return list(row.fetchall())


def assert_it_meant_something(canaries: Canaries, places: Mapping[str, str], telltale: Telltale) -> None:
    """The canaries were out, and what failed was told of in every place."""
    heard = canaries.found_in(telltale.heard.decode("utf-8", "replace"))
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MISTRAL_API_KEY", "byok", "access"} <= heard
    assert "webhook-path-401" in heard
    assert len(telltale.envelopes) > 10
    assert "provider.auth_failed" in places["worker.log"]
    assert "provider.auth_failed" in places["execution.runs"]
    assert "provider.auth_failed" in places["report"]
    assert places["collector"]
