"""A process that can't be kept alive is reported, and its siblings go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lifecycle

#: Supervises one child that ends at once and one that stays; pauses are short, and it tells what it reports.
SCRIPT = """
import os, sys
from pathlib import Path
from app import alerts, logs
from app.processes import ProcessType, Supervisor, restarts
from app.processes.service import Service

logs.configure("INFO", json_lines=True)
restarts.FIRST_PAUSE_SECONDS = restarts.LONGEST_PAUSE_SECONDS = 0.05
alerts.process_keeps_ending = lambda name, code: print(f"alert {name} {code}", flush=True)
types = [ProcessType("bad", "sh -c 'exit 3'"), ProcessType("good", "sh -c 'echo up; exec sleep 600'")]
services = [Service(each, os.environ, Path.cwd(), sys.stdout.buffer) for each in types]
sys.exit(Supervisor(services, grace_seconds=10).run())
"""


def test_a_process_that_ends_whenever_it_is_started_is_told_once_and_stops_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as supervisor:
        assert supervisor.stdout is not None
        said: list[str] = []
        starts = 0
        for line in supervisor.stdout:
            said.append(line)
            starts += '"process started"' in line and '"bad"' in line
            if starts == 12:
                supervisor.send_signal(signal.SIGTERM)
                break
        said += supervisor.stdout
        code = supervisor.wait(30)
    events = [json.loads(line) for line in said if line.startswith("{")]
    assert said.count("alert bad 3\n") == 1
    assert [event["process"] for event in events if event["level"] == "error"] == ["bad"]
    ended = {event["process"] for event in events if event["message"] == "process ended"}
    assert ended == {"bad"}
    assert [line for line in said if line.endswith("| up\n")] == ["good      | up\n"]
    assert code == 0
