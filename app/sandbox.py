"""Run strangers' JavaScript in a process that can do nothing but compute.

Bubblewrap gives it namespaces of its own: no network, no other processes, no environment, and of the file
system only the libraries that Node needs, to be read. `prlimit` bounds its processor time, memory, files and
threads, and it is killed when its time is up. What it answers is as untrusted as what it was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import WorkerError
from app.settings import settings

#: Most bytes of an answer; what is longer is refused.
MOST_ANSWER_BYTES = 4 * 1024 * 1024
#: What Node itself takes beside the heap of its program.
RUNTIME_BYTES = 256 * 1024 * 1024
MOST_THREADS = 64
MOST_FILES = 64
#: Time for starting Node, beside that of the program.
START_SECONDS = 2.0

#: Where shared libraries are; links among them are made again.
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
#: One program for each processor: more would only take each other's time.
_places = threading.BoundedSemaphore(os.cpu_count() or 1)
_proven = threading.Event()


class SandboxError(WorkerError):
    """A program can't be run, or was ended; `timed_out` tells that it had had its time."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


@dataclass(frozen=True)
class Tools:
    """The commands that isolation is made of, each as an absolute path."""

    bwrap: str
    prlimit: str
    node: str


def run_script(script: str, given: bytes, *, timeout_seconds: float) -> bytes:
    """What a Node program writes to its standard output when it is given something on its input.

    Raises `SandboxError` if it takes too long, writes too much, or ends badly.
    """
    tools = _tools()
    with _places, tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        command = [*_isolation(tools), *_limits(timeout_seconds), *_node(script)]
        with subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/"
        ) as process:
            return _listen(process, timeout_seconds + START_SECONDS)


def _listen(process: subprocess.Popen[bytes], timeout_seconds: float) -> bytes:
    """All that a process says until it ends, which it does at the latest when its time is up."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    assert process.stdout is not None, "the process was started with a pipe"
    timer = threading.Timer(timeout_seconds, end)
    timer.start()
    try:
        answer = process.stdout.read(MOST_ANSWER_BYTES + 1)
        if len(answer) > MOST_ANSWER_BYTES:
            raise SandboxError(f"it wrote more than {MOST_ANSWER_BYTES} bytes")
        code = process.wait()
    finally:
        timer.cancel()
        process.kill()
    if late.is_set():
        raise SandboxError("it took too long", timed_out=True)
    if code:
        raise SandboxError(f"it was ended with the status {code}: out of memory, most likely")
    return answer


def hindrance() -> str | None:
    """Why programs can't be isolated here, found out by trying until it works once; None if they can."""
    if _proven.is_set():
        return None
    try:
        said = run_script("process.stdout.write('ready')", b"", timeout_seconds=5)
    except (SandboxError, OSError) as error:
        return f"a sandbox can't be made here: {error}"
    if said != b"ready":
        return "a sandbox can't be made here: it gave no answer"
    _proven.set()
    return None


def _tools() -> Tools:
    configured = settings()
    found = {
        name: shutil.which(command)
        for name, command in (
            ("bwrap", configured.code_bwrap_command),
            ("prlimit", "prlimit"),
            ("node", configured.code_node_command),
        )
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise SandboxError(f"there is no {', '.join(missing)}")
    return Tools(**{name: str(Path(str(path)).resolve()) for name, path in found.items()})


def _isolation(tools: Tools) -> list[str]:
    return [
        *(tools.bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *_libraries(),
        *("--ro-bind", tools.node, "/node", "--ro-bind", tools.prlimit, "/prlimit"),
        *("--proc", "/proc", "--dev", "/dev", "--size", "1048576", "--tmpfs", "/tmp"),  # noqa: S108 - its own
        *("--remount-ro", "/", "--chdir", "/tmp", "--"),  # noqa: S108 - its own
    ]


def _libraries() -> Iterator[str]:
    for name in _LIBRARIES:
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield from ("--ro-bind", name, name)


def _limits(timeout_seconds: float) -> list[str]:
    data_bytes = settings().code_memory_mb * 1024 * 1024 + RUNTIME_BYTES
    return [
        *("/prlimit", f"--cpu={round(timeout_seconds + START_SECONDS) + 1}", f"--data={data_bytes}"),
        *(f"--nproc={MOST_THREADS}", f"--nofile={MOST_FILES}", "--core=0", "--"),
    ]


def _node(script: str) -> list[str]:
    return ["/node", f"--max-old-space-size={settings().code_memory_mb}", "--no-warnings", "-e", script]
