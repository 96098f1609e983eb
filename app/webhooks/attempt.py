"""One attempt: the request, and a report of what came of it that is fit for the database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from app.http import GuardedClient, OutboundError, OutboundRefusedError, Response
from app.http.retry_after import parse_retry_after
from app.redaction import redact

#: Of a response that is not a success, so much is kept for whoever looks for the reason.
RESPONSE_HEAD_BYTES = 1_000


@dataclass(frozen=True)
class Report:
    """What came of an attempt; without a `status` there was no response.

    `is_refused` tells that we would not even dial. `asked_seconds` is the response's Retry-After.
    """

    status: int | None
    duration_ms: int
    response_head: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    is_refused: bool = False
    asked_seconds: float | None = None

    @property
    def is_success(self) -> bool:
        """Only 2xx is: a redirect is not followed and delivers nothing."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """The report as worker.settle_webhook wants it."""
        return {
            "status": self.status,
            "duration_ms": self.duration_ms,
            "response_head": self.response_head,
            "error_code": self.error_code,
            "error_message": self.error_message,
        }


def post(
    client: GuardedClient, url: str, headers: dict[str, str], body: bytes, *, deadline_seconds: float
) -> Report:
    """Send the request and report; whatever goes wrong on the way is in the report."""
    began = time.monotonic()
    try:
        response = client.request("POST", url, headers=headers, body=body, deadline_seconds=deadline_seconds)
    except OutboundError as error:
        return Report(
            status=None,
            duration_ms=round((time.monotonic() - began) * 1000),
            error_code=error.code,
            error_message=error.message,
            is_refused=isinstance(error, OutboundRefusedError),
        )
    return _report_of(response)


def _report_of(response: Response) -> Report:
    if 200 <= response.status < 300:
        return Report(response.status, response.duration_ms)
    text = response.body[:RESPONSE_HEAD_BYTES].decode("utf-8", "replace").replace("\x00", "\ufffd")
    return Report(
        status=response.status,
        duration_ms=response.duration_ms,
        response_head=redact(text),
        error_code=f"webhook.status_{response.status}",
        error_message=f"the endpoint answered {response.status}",
        asked_seconds=parse_retry_after(response.headers.get("retry-after")),
    )
