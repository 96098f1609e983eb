"""The error of a filter or comparison that has no result."""

from __future__ import annotations

from liquid.exceptions import FilterArgumentError


class NoResultError(FilterArgumentError):
    """What the reference implementation reports as an error too; `reason` is fixed and quotes no value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, token=None)
        self.reason = reason
