"""Pass on what a child writes: log lines in JSON as they are, everything else under the child's name."""

from __future__ import annotations

import threading
from typing import IO, BinaryIO

#: A longer line is passed on in pieces.
MAX_LINE_BYTES = 1 << 20

_writing = threading.Lock()


class Forwarder(threading.Thread):
    """Copies a child's output line by line until it ends; lines of several children never mix.

    A reader of ours that went away doesn't hold the child up: the rest is read and dropped.
    """

    def __init__(self, name: str, source: IO[bytes], target: BinaryIO) -> None:
        super().__init__(name=f"output of {name}", daemon=True)
        self._prefix = f"{name:<9} | ".encode()
        self._source = source
        self._target = target

    def run(self) -> None:
        """Copy until the end."""
        with self._source:
            for line in iter(lambda: self._source.readline(MAX_LINE_BYTES), b""):
                self._pass_on(line.rstrip(b"\n"))

    def _pass_on(self, line: bytes) -> None:
        is_json = line.startswith(b"{") and line.endswith(b"}")
        try:
            with _writing:
                self._target.write((line if is_json else self._prefix + line) + b"\n")
                self._target.flush()
        except (BrokenPipeError, ValueError):  # closed by its reader, or by ourselves
            return
