"""Who this process is, in claims, leases and heartbeats."""

from __future__ import annotations

import multiprocessing

from app.settings import Settings


def worker_id(settings: Settings) -> str:
    """The configured id, or the host's name, and the number of the process among its siblings.

    The number makes it stable over restarts, unlike a pid: `render-worker-0:1`, `render-worker-0:2`.
    """
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return f"{settings.instance_id}:{number}" if number.isdigit() else settings.instance_id
