"""The stack runs a Procfile's processes, reports their ends, and leaves none behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.local.stack import Stack, StackError

pytestmark = pytest.mark.lifecycle

Make = Callable[..., Stack]

STUBBORN = (
    "import os, signal, time; signal.signal(15, signal.SIG_IGN); child = os.fork(); "
    "child and print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Stack] = []

    def make_one(procfile: str, **options: object) -> Stack:
        path = tmp_path / "Procfile"
        path.write_text(procfile)
        environment = {**os.environ, "GREETING": "merhaba"}
        stack = Stack(tmp_path / "state", environment, procfile=path, **options)  # type: ignore[arg-type]
        made.append(stack)
        return stack

    yield make_one
    for stack in made:
        stack.stop(timeout_seconds=0)


class Lines:
    """Collects echoed lines and lets a test wait for one."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, name: str, line: str) -> None:
        with self._changed:
            self.seen.append((name, line))
            self._changed.notify_all()

    def wait_for(self, name: str, line: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: (name, line) in self.seen, timeout=30), self.seen


def test_release_runs_to_its_end_before_anything_else_starts(make: Make) -> None:
    lines = Lines()
    procfile = (
        "worker: sh -c 'cat released; sleep 600'\nrelease: sh -c 'echo migrated > released; echo '$GREETING\n"
    )
    with make(procfile, echo=lines) as stack:
        lines.wait_for("worker", "migrated")
        lines.wait_for("release", "merhaba")
        assert list(stack.processes) == ["worker"]
        assert stack.log_path("worker").read_text() == "migrated\n"


def test_a_failing_release_stops_everything_and_is_quoted(make: Make) -> None:
    stack = make("release: sh -c 'echo no such table >&2; exit 3'\nworker: sleep 600\n")
    with pytest.raises(StackError, match=r"release ended with code 3 .*no such table"):
        stack.start()
    assert stack.processes == {}


def test_a_process_that_ends_is_reported_with_what_it_said(make: Make) -> None:
    with make("worker: sh -c 'echo boom; exit 7'\nscheduler: sleep 600\n") as stack:
        stack.processes["worker"].wait(30)
        ended = stack.ended()
        assert ended is not None
        assert (ended.name, ended.exit_code) == ("worker", 7)
        with pytest.raises(StackError, match="boom"):
            stack.check()
        assert stack.processes["scheduler"].poll() is None


def test_programs_of_the_virtualenv_are_found_first(make: Make) -> None:
    python = str(Path(sys.executable).with_name("python"))
    lines = Lines()
    with make("worker: sh -c 'command -v python; sleep 600'\n", echo=lines) as stack:
        lines.wait_for("worker", python)
        assert stack.log_path("worker").read_text() == f"{python}\n"


def test_only_the_chosen_processes_run(make: Make) -> None:
    with make("release: exit 1\nworker: sleep 600\nscheduler: sleep 600\n", only=["worker"]) as stack:
        assert list(stack.processes) == ["worker"]


def test_what_ignores_sigterm_is_killed_with_its_children(make: Make) -> None:
    lines = Lines()
    stack = make(f'worker: {sys.executable} -c "{STUBBORN}"\n', echo=lines)
    stack.start()
    lines.wait_for("worker", "up")
    leader = psutil.Process(stack.processes["worker"].pid)
    family = [leader, *leader.children()]
    assert len(family) == 2
    stack.stop(timeout_seconds=0.2)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_the_processes_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("worker: sleep 600\n")
    script = (
        "import os, sys, time; from pathlib import Path; from app.local.stack import Stack\n"
        "folder = Path(sys.argv[1]); stack = Stack(folder, os.environ, procfile=folder / 'Procfile')\n"
        "stack.start(); print(stack.processes['worker'].pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=30)
    assert alive == []
