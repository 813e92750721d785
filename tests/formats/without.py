"""Starts a program on a kernel that seems to lack system calls. Run as a script.

The arguments: numbers of calls with commas between them, the number of the error that they end with (0: they seem to work),
and the program. Its children lack them too.
"""

from __future__ import annotations

import errno
import os
import sys

from phimage.formats import sandbox_child as child

UNSHARE, PRCTL, SETGROUPS = {"x86_64": (272, 157, 116), "aarch64": (97, 167, 159)}.get(os.uname().machine, (0, 0, 0))

MESSAGE = os.strerror(errno.EPERM)


def without(*calls: int, error: int = errno.EPERM) -> tuple[str, ...]:
    """The words before a program that start it so."""
    return (sys.executable, __file__, ",".join(map(str, calls)), str(error))


if __name__ == "__main__":
    child.libc.prctl(child.NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    failed = child.forbid(tuple(map(int, sys.argv[1].split(","))), 0x00050000 | int(sys.argv[2]))
    assert not failed, failed
    os.execvp(sys.argv[3], sys.argv[3:])
