"""Logs: one JSON object a line where a machine reads, coloured text on a terminal, and never a key.

Keys are those the platform documents: `level`, `message`, `timestamp`, and camelCase context such as
`runId` and `durationMs` on the lines that operators search for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from app.redaction import redact


def configure(level: str, *, json_lines: bool | None = None) -> None:
    """Send structlog and the standard library's logging to stderr in one format.

    `json_lines` defaults to whether stderr is something else than a terminal.
    """
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _redact_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: Any = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(event_key="message")
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "httpx2", "httpcore2", "openai", "anthropic", "urllib3", "google"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Dramatiq reports at INFO what the worker's own lines say better.
    logging.getLogger("dramatiq").setLevel(logging.WARNING)


def _redact_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The one filter every line goes through on its way out."""
    for key, value in event.items():
        if not key.startswith("_") and not isinstance(value, bool | int | float | None):
            event[key] = redact(value if isinstance(value, str) else str(value))
    return event
