"""What an outbound request can end in instead of a response."""

from __future__ import annotations

from app.errors import WorkerError


class OutboundError(WorkerError):
    """A request got no response; `code` says why in a word, `message` in a sentence without the URL.

    With `is_unsent` the other side certainly has nothing of it.
    """

    def __init__(self, code: str, message: str, *, is_unsent: bool = False) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.is_unsent = is_unsent

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class OutboundRefusedError(OutboundError):
    """We would not send it: the URL, a header or the address is not acceptable. Trying again is useless."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, is_unsent=True)


class OutboundFailedError(OutboundError):
    """It was tried and failed on the way: DNS, connecting, TLS, the deadline, or a garbled response."""
