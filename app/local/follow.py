"""Pass on the lines that several processes add to their log files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

#: Called with the name of a process and one line it wrote.
Echo = Callable[[str, str], None]

POLL_SECONDS = 0.1


class Follower:
    """A thread that echoes what is added to log files from now until `stop`.

    Files and not pipes: a process can go on writing when its starter is killed.
    """

    def __init__(self, logs: Mapping[str, Path], echo: Echo) -> None:
        self._files = {name: _open_at_end(path) for name, path in logs.items()}
        self._unfinished = dict.fromkeys(logs, "")
        self._echo = echo
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow-logs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Echo what is still unread and end."""
        self._stopping.set()
        self._thread.join()
        for file in self._files.values():
            file.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(POLL_SECONDS)
            for name, file in self._files.items():
                self._pass_on(name, file)

    def _pass_on(self, name: str, file: TextIO) -> None:
        *lines, rest = (self._unfinished[name] + file.read()).split("\n")
        self._unfinished[name] = rest
        for line in lines:
            self._echo(name, line)


def _open_at_end(path: Path) -> TextIO:
    file = path.open(errors="replace")
    file.seek(0, 2)
    return file
