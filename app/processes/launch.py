"""Become another program that ends with its parent and, where asked, does not run as root.

Usage: python launch.py IDENTITY SIGNAL PARENT_PID PROGRAM [ARGUMENT ...]

IDENTITY is `self` (no change), `namespace` (a user namespace in which root is called nobody) or `setuid`
(really become nobody). SIGNAL is the number of the signal the kernel sends when the parent dies (Linux only).
PARENT_PID is the process that must still be the parent, or nothing is started.

A script of its own and not a `preexec_fn`, because running Python between fork and exec of a process with
threads can deadlock. It imports nothing of this project, and takes some 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

#: Exit status when the identity is refused by the system or the parent is gone (EX_OSERR of sysexits.h).
REFUSED = 71

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def enter_namespace() -> None:
    """Call this user nobody from here on; files keep their real owner outside."""
    nobody = pwd.getpwnam("nobody")
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {gid} 1")


def become_nobody() -> None:
    """Give up root for good."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def end_with_parent(death_signal: int, parent_pid: int) -> None:
    """Have the kernel signal this process when its parent dies; a change of user would undo it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise OSError("the parent is gone")


def main(identity: str, death_signal: str, parent_pid: str, *command: str) -> None:
    """Change identity, tie the life to the parent's, and become the program."""
    try:
        if identity == "namespace":
            enter_namespace()
        elif identity == "setuid":
            become_nobody()
        end_with_parent(int(death_signal), int(parent_pid))
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted here
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
        raise SystemExit(REFUSED) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
