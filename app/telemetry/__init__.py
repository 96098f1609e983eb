"""OpenTelemetry: a span for each attempt at a job with its provider calls below it, and metrics of the work.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `otel` is installed. Everything is pushed by OTLP
over HTTP, so no process opens a port. Names are those of the semantic conventions where there are such
(`messaging.*`, `gen_ai.*`), else they begin with `lf_worker`. Prompts, answers and keys are in none of it.
"""

from app.telemetry.process import Telemetry, is_installed, report_queues
from app.telemetry.recording import JobRecord, job_span, settled, span_of_thread, under_span

__all__ = [
    "JobRecord",
    "Telemetry",
    "is_installed",
    "job_span",
    "report_queues",
    "settled",
    "span_of_thread",
    "under_span",
]
