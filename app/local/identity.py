"""Run PostgreSQL's programs as somebody other than root, which they refuse to be."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.errors import DatabaseError
from app.local.binaries import Binaries
from app.processes.children import Identity, launch_command


@dataclass(frozen=True)
class Runner:
    """PostgreSQL's programs together with the identity they run under."""

    identity: Identity
    binaries: Binaries

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that becomes `program` and ends when the calling process does."""
        return launch_command(
            self.binaries.program(program), *arguments, identity=self.identity, death_signal=signal.SIGINT
        )

    def give(self, path: Path) -> None:
        """Make the identity the owner of a path; inside a namespace it already is."""
        if self.identity == "setuid":
            nobody = pwd.getpwnam("nobody")
            os.chown(path, nobody.pw_uid, nobody.pw_gid)

    def path_through(self, descriptor: int, path: Path) -> str:
        """A path to a folder the program has open, which nobody can follow under closed parents too."""
        return f"/proc/self/fd/{descriptor}" if self.identity == "setuid" else str(path)


def choose_runner(binaries: Binaries) -> Runner:
    """Pick the least invasive identity: ourselves, else a user namespace, else the user nobody."""
    if os.geteuid() != 0:
        return Runner("self", binaries)
    if namespaces_are_allowed(binaries):
        return Runner("namespace", binaries)
    return Runner("setuid", _readable_copy(binaries))


def namespaces_are_allowed(binaries: Binaries) -> bool:
    """Whether this system lets root open a user namespace; many containers do not."""
    probe = launch_command(binaries.program("postgres"), "--version", identity="namespace")
    return subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0


def _readable_copy(binaries: Binaries) -> Binaries:
    """The installation where nobody can read it, copied if need be: others can't look into /root."""
    origin = binaries.directory.parent
    if all(folder.stat().st_mode & 0o001 for folder in (binaries.directory, *binaries.directory.parents)):
        return binaries
    name = hashlib.sha256(f"{origin}:{origin.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    copy = Path("/var/tmp") / f"lf-worker-postgres-{name}"  # noqa: S108  # its owner is checked below
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="lf-worker-postgres-", dir=copy.parent))
        shutil.copytree(origin, fresh, symlinks=True, dirs_exist_ok=True)
        fresh.chmod(0o755)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    status = copy.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise DatabaseError(f"{copy} is not root's alone: remove it and start again")
    return Binaries(copy / binaries.directory.name, binaries.major)
