"""What real processes push to an OTLP collector, and what they don't."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run, ensure_model
from app.local.provider_server import ProviderServer
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.doubles.otlp_endpoint import Collector, plain
from tests.lifecycle.processes import BIN, ROOT, Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

KEY = "sk-lifecycle-planted-0123456789"
PROMPT = "a prompt that no collector may see"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


def finished(session: Connection, count: int) -> bool:
    return bool(call(session, "SELECT count(*) = %s FROM worker.claims WHERE state = 'finished'", count))


def test_jobs_and_their_provider_calls_are_spans_that_a_stopping_worker_still_sends(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded, collector: Collector
) -> None:
    for name in ("demo-stumbling", "demo+policy"):
        ensure_model(connection, name, "openai")
    provider.script("demo-stumbling", ["503"])
    stumbling = enqueue_lens_run(connection, model="demo-stumbling", inputs={"prompt": PROMPT})
    refused = enqueue_lens_run(connection, model="demo+policy", inputs={"prompt": PROMPT})
    workflow = make_workflow(connection, {"only": NodeSeed({"modelId": "gpt-4o"}, lens="greeting")})
    enqueue_workflow_run(connection, workflow.workflow_id, inputs={"name": "Ada", "language": "English"})
    worker = workers.start(
        PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-collector-key=secret%20word",
    )
    eventually(lambda: finished(connection, 3), what="the end of all jobs")
    assert worker.listening_ports() == []
    worker.terminate()
    assert worker.wait() == 0

    jobs = [span for span in collector.spans if span.name.startswith("process ")]
    told = [plain(span.attributes) for span in jobs]
    outcomes = sorted((job["lf_worker.job.id"], job["lf_worker.job.outcome"]) for job in told)
    assert sorted(o for job_id, o in outcomes if job_id == str(stumbling)) == ["succeeded", "waiting"]
    assert [o for job_id, o in outcomes if job_id == str(refused)] == ["failed"]
    (failed,) = [job for job in told if job["lf_worker.job.outcome"] == "failed"]
    assert failed["error.type"] == "provider.content_refused"
    assert failed["messaging.destination.name"] == "lens_runs"
    assert failed["lf_worker.job.attempt"] == 1

    by_id = {span.span_id: plain(span.attributes) for span in jobs}
    calls = [span for span in collector.spans if span.name.startswith("chat ")]
    assert len(calls) == len(provider.calls) == 4
    parents = {(span.name, by_id[span.parent_span_id]["lf_worker.job.kind"]) for span in calls}
    assert parents == {
        ("chat demo-stumbling", "lens_run"),
        ("chat demo+policy", "lens_run"),
        ("chat gpt-4o", "workflow_run"),
    }
    (answered,) = [plain(span.attributes) for span in calls if span.name == "chat gpt-4o"]
    assert answered["gen_ai.provider.name"] == "openai"
    assert answered["gen_ai.usage.input_tokens"] > 0
    assert {span.end_time_unix_nano >= span.start_time_unix_nano for span in collector.spans} == {True}

    durations = collector.points("messaging.process.duration")
    assert sum(count for count, _ in durations.values()) == len(jobs)
    assert sum(count for count, _ in collector.points("lf_worker.job.pickup.duration").values()) == 3
    assert sum(count for count, _ in collector.points("gen_ai.client.operation.duration").values()) == 4
    assert collector.points("gen_ai.client.token.usage")
    assert {resource["service.name"] for resource in collector.resources} == {"lf-worker"}
    assert {headers["x-collector-key"] for headers in collector.headers} == {"secret word"}
    for secret in (KEY, PROMPT):
        assert secret.encode() not in collector.raw
    assert not any("traceparent" in asked.headers for asked in provider.calls)


def test_a_collector_that_is_away_holds_up_neither_jobs_nor_the_end(
    workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    worker = workers.start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    eventually(lambda: finished(connection, 1), what="the end of the job")
    worker.terminate()
    assert worker.wait() == 0


def test_the_scheduler_pushes_what_status_shows(
    dsn: str, connection: Connection, seeded: Seeded, collector: Collector
) -> None:
    for _ in range(3):
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": PROMPT})
    connection.cursor().execute("UPDATE dramatiq.queue SET mtime = now() - interval '100 s' WHERE true")
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    scheduler = subprocess.Popen([str(BIN / "periodiq"), "app.schedules"], cwd=ROOT, env=environment)
    try:
        eventually(lambda: collector.points("lf_worker.queue.oldest_age"), what="the gauges")
    finally:
        scheduler.terminate()
        scheduler.wait(40)
    assert collector.points("lf_worker.jobs.queued")[(("lf_worker.job.kind", "lens_run"),)] == 3
    queue = (("messaging.destination.name", "lens_runs"),)
    assert collector.points("lf_worker.queue.waiting")[queue] == 3
    assert 100 <= collector.points("lf_worker.queue.oldest_age")[queue] < 130
