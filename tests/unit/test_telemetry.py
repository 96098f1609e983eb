"""Telemetry that nobody asked for costs nothing; what is recorded has the conventions' names."""

from __future__ import annotations

import subprocess
import sys

import pytest
import structlog

from app.calls import Call, measured, observe_calls
from app.settings import load_settings
from app.telemetry import JobRecord, job_span, process, settled
from app.telemetry.conventions import call_attributes, call_name, job_attributes
from app.telemetry.recording import record_to


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.ended: list[JobRecord] = []
        self.calls: list[tuple[object, Call]] = []

    def begin(self, job: JobRecord) -> object:
        return f"span of {job.job_id}"

    def end(self, span: object, job: JobRecord) -> None:
        self.ended.append(job)

    def add_call(self, span: object, call: Call) -> None:
        self.calls.append((span, call))


@pytest.fixture
def notes() -> Notes:
    return Notes()


def record(job_id: str = "42") -> JobRecord:
    return JobRecord("lens_run", "lens_runs", "message", job_id, 1, 0.5)


def test_a_recorder_that_comes_and_goes_leaves_other_observers_alone(notes: Notes) -> None:
    """The limits hear of every call too: telemetry must not take their place."""
    heard: list[Call] = []
    stop = observe_calls(heard.append)
    try:
        for recorder in (notes, Notes(), None):
            record_to(recorder)
            with measured("openai", "gpt-4o", "answer"):
                pass
    finally:
        record_to(None)
        stop()
    with measured("openai", "gpt-4o", "answer"):
        pass
    assert len(heard) == 3
    assert len(notes.calls) == 1


def test_a_job_is_recorded_with_its_outcome_and_its_calls(notes: Notes) -> None:
    record_to(notes)
    try:
        with job_span(record()), measured("openai", "gpt-4o", "answer"):
            settled("failed", "provider.auth_failed")
        with pytest.raises(KeyError), job_span(record("43")):
            raise KeyError
        with measured("openai", "gpt-4o", "answer"):
            pass
    finally:
        record_to(None)
    assert [(job.outcome, job.error_code) for job in notes.ended] == [
        ("failed", "provider.auth_failed"),
        ("interrupted", None),
    ]
    assert [span for span, _ in notes.calls] == ["span of 42", None]


def test_a_metric_is_not_divided_by_what_has_many_values() -> None:
    described = job_attributes(record())
    assert described.of_span["lf_worker.job.id"] == "42"
    assert "lf_worker.job.id" not in described.of_metrics
    assert "messaging.message.id" not in described.of_metrics


@pytest.mark.parametrize(
    ("call", "name", "provider"),
    [
        (Call("openai", "gpt-4o", "answer"), "chat gpt-4o", "openai"),
        (Call("google", "gemini-2.5-pro", "answer"), "generate_content gemini-2.5-pro", "gcp.gemini"),
        (Call("kling", "kling-v2", "order"), "generate_content kling-v2", "kling"),
        (Call("kling", "kling-v2", "poll"), "poll kling-v2", "kling"),
    ],
    ids=["chat", "gemini", "order", "poll"],
)
def test_calls_are_named_as_the_conventions_do(call: Call, name: str, provider: str) -> None:
    assert call_name(call) == name
    assert call_attributes(call).of_metrics["gen_ai.provider.name"] == provider
    assert "error.type" not in call_attributes(call).of_span


def test_an_endpoint_without_the_extra_is_said_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "is_installed", lambda: False)
    settings = load_settings(DATABASE_URL="postgresql://db", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector")
    with structlog.testing.capture_logs() as logs:
        assert not process.is_wanted(settings)
    assert "lf-worker[otel]" in logs[0]["event"]
    assert not process.is_wanted(load_settings(DATABASE_URL="postgresql://db"))


def test_the_sdk_is_not_imported_before_it_is_wanted() -> None:
    program = (
        "import sys, app.boot;"
        "from app.telemetry import report_queues; from app.settings import load_settings;"
        "report_queues(load_settings(DATABASE_URL='postgresql://db'));"
        "sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
