"""A worker whose jobs only write down that they ran; tests start it with the `dramatiq` command.

Its tables are made by the tests: `ran` has a row for each execution, `done` one for each job at most.
"""

from __future__ import annotations

import ctypes
import os
import time
import uuid
from typing import Any

import dramatiq

from app import logs
from app.boot import build_broker
from app.database import database
from app.errors import DatabaseAway
from app.settings import settings

logs.configure(settings().log_level)
broker = build_broker(settings())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="lifecycle")
def run(job: int, pause_ms: int = 0, wait_at_gate: bool = False) -> None:
    """Write down the start, take some time, write down the end."""
    execution = str(uuid.uuid4())
    _execute(
        "INSERT INTO ran (execution, job, pid) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        execution,
        job,
        os.getpid(),
    )
    time.sleep(pause_ms / 1000)
    while wait_at_gate and not _execute("SELECT opened_at FROM gate"):
        time.sleep(0.02)
    _execute(
        "WITH ended AS (UPDATE ran SET ended_at = clock_timestamp() WHERE execution = %(execution)s)"
        " INSERT INTO done (job, execution) VALUES (%(job)s, %(execution)s) ON CONFLICT DO NOTHING",
        {"execution": execution, "job": job},
    )


@dramatiq.actor(queue_name="lifecycle")
def hog(job: int, seconds: int) -> None:
    """Hold the interpreter in one C call, so that no other thread of the process runs meanwhile."""
    started = str(uuid.uuid4())
    _execute("INSERT INTO ran (execution, job, pid) VALUES (%s, %s, %s)", started, job, os.getpid())
    ctypes.PyDLL(None).sleep(seconds)
    _execute("UPDATE ran SET ended_at = clock_timestamp() WHERE execution = %s", started)


@dramatiq.actor(queue_name="lifecycle", time_limit=500)
def hang() -> None:
    """Wait in C without holding the interpreter, past the time limit."""
    ctypes.CDLL(None).sleep(60)


@dramatiq.actor(queue_name="lifecycle")
def count(job: int) -> None:
    """Write down one execution, in one statement."""
    _execute(
        "INSERT INTO ran (execution, job, pid, ended_at) VALUES (%s, %s, %s, clock_timestamp())",
        str(uuid.uuid4()),
        job,
        os.getpid(),
    )


def _execute(statement: str, *parameters: Any) -> list[dict[str, Any]]:
    """Run one statement, again when its connection broke: tests end connections while it runs."""
    values = parameters[0] if parameters and isinstance(parameters[0], dict) else parameters
    while True:
        try:
            return database().call(statement, values)
        except DatabaseAway:
            time.sleep(0.05)
