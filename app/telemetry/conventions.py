"""Names and values of OpenTelemetry's semantic conventions for what the worker records.

Those for messaging and for generative AI: https://opentelemetry.io/docs/specs/semconv/.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from app.calls import Call
from app.settings import Settings
from app.telemetry.recording import JobRecord

Attributes = dict[str, str | int]

#: Providers that the conventions call by another name than the platform does.
_PROVIDERS = {"google": "gcp.gemini", "google_vertex": "gcp.vertex_ai", "mistral": "mistral_ai"}
_GOOGLE = frozenset({"google", "google_vertex"})


@dataclass(frozen=True)
class Described:
    """What is said of a span, and the part of it that has few values and so may divide a metric."""

    of_span: Attributes
    of_metrics: Attributes


def worker_resource(settings: Settings, instance: str) -> Attributes:
    """Who sends it."""
    return {
        "service.name": settings.otel_service_name,
        "service.version": version("lf-worker"),
        "service.instance.id": instance,
        "deployment.environment.name": settings.sentry_environment,
    }


def job_attributes(job: JobRecord) -> Described:
    """What is said of an attempt at a job."""
    of_metrics: Attributes = {
        "messaging.system": "dramatiq",
        "messaging.operation.name": "process",
        "messaging.destination.name": job.queue,
        "lf_worker.job.kind": job.kind,
        "lf_worker.job.outcome": job.outcome,
        **_error(job.error_code),
    }
    of_span: Attributes = {
        **of_metrics,
        "messaging.operation.type": "process",
        "messaging.message.id": job.message_id,
        "lf_worker.job.id": job.job_id,
        "lf_worker.job.attempt": job.attempt,
    }
    return Described(of_span, of_metrics)


def call_name(call: Call) -> str:
    """The name of a call's span."""
    return f"{_operation(call)} {call.model}"


def call_attributes(call: Call) -> Described:
    """What is said of a call to a provider."""
    of_metrics: Attributes = {
        "gen_ai.operation.name": _operation(call),
        "gen_ai.provider.name": _PROVIDERS.get(call.provider, call.provider),
        "gen_ai.request.model": call.model,
        **_error(call.error_code),
    }
    of_span: Attributes = {**of_metrics}
    if call.tokens_in or call.tokens_out:
        of_span["gen_ai.usage.input_tokens"] = call.tokens_in
        of_span["gen_ai.usage.output_tokens"] = call.tokens_out
    return Described(of_span, of_metrics)


def _operation(call: Call) -> str:
    """The conventions know no word for asking how far a medium is; that one is ours."""
    if call.purpose == "poll":
        return "poll"
    if call.purpose == "order" or call.provider in _GOOGLE:
        return "generate_content"
    return "chat"


def _error(code: str | None) -> Attributes:
    return {"error.type": code} if code else {}
