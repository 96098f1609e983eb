"""What the actors of a benchmark report: a file that all processes append fixed-size records to."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_RECORD = struct.Struct("<qqq")


@dataclass(frozen=True)
class Entry:
    """One job that began in a process; times are nanoseconds on the machine's monotonic clock."""

    pid: int
    sent_at_ns: int
    began_at_ns: int

    @property
    def pickup_ms(self) -> float:
        """Time from just before the message was sent until its job began."""
        return (self.began_at_ns - self.sent_at_ns) / 1e6


class Journal:
    """Appends entries; a write is one system call, so that processes and threads don't need a lock."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, sent_at_ns: int) -> None:
        """Note that a job begins now; 0 stands for a message whose sending is of no interest."""
        os.write(self._file, _RECORD.pack(os.getpid(), sent_at_ns, time.monotonic_ns()))


def read_journal(path: Path) -> list[Entry]:
    """Every entry up to now; an empty list before the first."""
    if not path.exists():
        return []
    content = path.read_bytes()
    return [
        Entry(*record)
        for record in _RECORD.iter_unpack(content[: len(content) // _RECORD.size * _RECORD.size])
    ]
