"""Credentials of connectors, for nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.nodes.task import Task
from app.platform.connectors import resolve_credential


def credential_of(task: Task[Any], ref: str, scopes: Sequence[str] = ()) -> str:
    """The token of a connection that the run may use; raises GiveUp or RetryLater `connector.…`."""
    return resolve_credential(task.database, task.run, ref, scopes).get_secret_value()
