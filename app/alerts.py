"""Alerts in Sentry: one event for each job that fails for good, and for errors nobody foresaw.

Off without SENTRY_DSN. Events hold no prompts, keys or local variables: every string in them goes through
the same redaction as the logs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from dramatiq.middleware import Middleware

from app.errors import JobError
from app.redaction import redact
from app.settings import Settings

if TYPE_CHECKING:
    import dramatiq
    from sentry_sdk.types import Event, Hint

#: How long a stopping process waits for its last events; workers are children, so no exit hook runs.
FLUSH_SECONDS = 5


def configure(settings: Settings) -> None:
    """Start Sentry's client for this process, if there is a DSN."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration

    sentry_sdk.init(
        dsn=dsn,
        release=f"lf-worker@{version('lf-worker')}",
        environment=settings.sentry_environment,
        # The automatic ones import every AI SDK, report errors that we handle, and hook into the calls.
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(event_level=None)],
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_redact_event,
        before_breadcrumb=lambda crumb, _hint: cast("dict[str, Any]", _redact(crumb)),
    )


def job_failed(kind: str, job_id: object, attempt: int, error: JobError) -> None:
    """Report that a job failed for good; events of one kind and code are one issue."""
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        scope.set_tag("kind", kind)
        scope.set_tag("error_code", error.code)
        scope.set_extra("job", str(job_id))
        scope.set_extra("attempt", attempt)
        scope.fingerprint = [kind, error.code]
        sentry_sdk.capture_message(f"{kind} failed: {error}", level="error")


def unexpected(error: BaseException) -> None:
    """Report an error that no code foresaw, with its traceback."""
    import sentry_sdk

    sentry_sdk.capture_exception(error)


def process_keeps_ending(name: str, exit_code: int) -> None:
    """Report that a process of `lf-worker run` ends whenever it is started."""
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        scope.set_tag("process", name)
        scope.fingerprint = ["process ends whenever it is started", name]
        message = f"{name} ends whenever it is started, with exit code {exit_code}"
        sentry_sdk.capture_message(message, level="error")


class FlushAlerts(Middleware):
    """Sends what is left when the worker stops."""

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Wait a moment for the last events."""
        import sentry_sdk

        sentry_sdk.flush(timeout=FLUSH_SECONDS)


def _redact_event(event: Event, _hint: Hint) -> Event:
    return cast("Event", _redact(event))


def _redact(value: Any) -> Any:
    """The value with every string in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(item) for item in value]
    return value
