"""Turns records into spans and measurements, and pushes them by OTLP over HTTP."""

from __future__ import annotations

import threading
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.re import parse_env_headers

from app.calls import Call
from app.identity import worker_id
from app.settings import Settings
from app.telemetry.conventions import call_attributes, call_name, job_attributes, worker_resource
from app.telemetry.recording import JobRecord

#: How long a stopping process waits for its last spans and measurements.
CLOSE_SECONDS = 3.0

#: Bounds of histograms, in seconds: jobs end in milliseconds or after minutes.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
#: Bounds that the conventions recommend for token counts.
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


def meter_provider(settings: Settings) -> MeterProvider:
    """Measurements of this process, pushed at a fixed interval."""
    exporter = OTLPMetricExporter(endpoint=_address(settings, "metrics"), headers=_headers(settings))
    reader = PeriodicExportingMetricReader(
        exporter, export_interval_millis=settings.otel_metric_export_interval_ms
    )
    return MeterProvider([reader], resource=_resource(settings), shutdown_on_exit=False)


class OtlpRecorder:
    """A recorder with providers of its own.

    The process's global ones stay empty: SDKs that find one write prompts into it.
    """

    def __init__(self, settings: Settings) -> None:
        exporter = OTLPSpanExporter(endpoint=_address(settings, "traces"), headers=_headers(settings))
        self._traces = TracerProvider(resource=_resource(settings), shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(exporter))
        self._metrics = meter_provider(settings)
        self._tracer = self._traces.get_tracer("lf_worker")
        meter = self._metrics.get_meter("lf_worker")
        self._durations = _seconds(
            meter, "messaging.process.duration", "One attempt at a job, by kind and outcome."
        )
        self._pickups = _seconds(
            meter, "lf_worker.job.pickup.duration", "From the ticket to the first attempt, by kind."
        )
        self._calls = _seconds(meter, "gen_ai.client.operation.duration", "One call to an AI provider.")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens that one call took in or put out.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def begin(self, job: JobRecord) -> Span:
        """Begin the span of an attempt, the root of a trace."""
        return self._tracer.start_span(f"process {job.queue}", kind=SpanKind.CONSUMER)

    def end(self, span: Span, job: JobRecord) -> None:
        """End the span, and measure how long the attempt took and how long its ticket had waited."""
        attributes = job_attributes(job)
        span.set_attributes(attributes.of_span)
        if job.error_code:
            span.set_status(Status(StatusCode.ERROR, job.error_code))
        span.end()
        self._durations.record(time.monotonic() - job.began, attributes.of_metrics)
        if job.waited_seconds is not None:
            self._pickups.record(job.waited_seconds, {"lf_worker.job.kind": job.kind})

    def add_call(self, span: Span | None, call: Call) -> None:
        """Write the call's span, which lies in the past, and measure its duration and tokens."""
        attributes = call_attributes(call)
        ended_ns = time.time_ns()
        written = self._tracer.start_span(
            call_name(call),
            context=set_span_in_context(span) if span else None,
            kind=SpanKind.CLIENT,
            attributes=attributes.of_span,
            start_time=ended_ns - call.duration_ms * 1_000_000,
        )
        if call.error_code:
            written.set_status(Status(StatusCode.ERROR, call.error_code))
        written.end(ended_ns)
        self._calls.record(call.duration_ms / 1000, attributes.of_metrics)
        for token_type, count in (("input", call.tokens_in), ("output", call.tokens_out)):
            if count:
                self._tokens.record(count, {**attributes.of_metrics, "gen_ai.token.type": token_type})

    def close(self) -> None:
        """Send what is left, for a while at most: an endpoint that is away must not hold up a deploy."""

        def send() -> None:
            self._traces.shutdown()
            self._metrics.shutdown()

        sending = threading.Thread(target=send, name="lf-worker telemetry", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=_SECONDS
    )


def _address(settings: Settings, signal: str) -> str:
    return f"{settings.otel_endpoint.rstrip('/')}/v1/{signal}"


def _headers(settings: Settings) -> dict[str, str]:
    return dict(parse_env_headers(settings.otel_headers.get_secret_value(), liberal=True))


def _resource(settings: Settings) -> Resource:
    described: dict[str, Any] = worker_resource(settings, worker_id(settings))
    return Resource.create(described)
