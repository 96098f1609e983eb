"""Who this process is, in claims, leases and heartbeats."""

from __future__ import annotations

import multiprocessing

from app.settings import Settings


def worker_id(settings: Settings) -> str:
    """The configured id, or the host's name, and the number of the process among its siblings.

    The number makes it stable over restarts, unlike a pid: `render-worker-0:1`, `render-worker-0:2`. It comes
    from `lf-worker run`, else from Dramatiq's command, whose children are numbered by their names.
    """
    if settings.process_number is not None:
        return f"{settings.instance_id}:{settings.process_number}"
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return f"{settings.instance_id}:{number}" if number.isdigit() else settings.instance_id
