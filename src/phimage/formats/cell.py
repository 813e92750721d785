"""The cell: sets limits and walls around its own process, then becomes the program. Run as a script, never imported by phimage.

It is a program of its own because limits set between fork and exec of a process with threads can hang it. Its one
argument is JSON, see `Cell` in `qemu.py`; what follows is the program. What the kernel or a missing right does not allow is
left out, except the limits, which must work. In order:

- limits: address space, CPU seconds, size of files, no core dump, few open files
- no network: an own namespace, which as root is allowed and otherwise where users may have namespaces
- no other file: Landlock lets the program read system libraries, read the image, write the output, and nothing else
- no rights: no capabilities, another user where one is given, none that a program file could add
- no parent, no process: it dies with the thread that started it
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path

NEW_USER, NEW_UTS, NEW_IPC, NEW_NET = 0x10000000, 0x04000000, 0x08000000, 0x40000000
SET_DEATH_SIGNAL, DROP_BOUNDING, NO_NEW_PRIVILEGES = 1, 24, 38
LAST_CAPABILITY = 63

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
NO_CELL = 125
"""Ends a process that could not become the program."""

LIBRARIES = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/gnu/store")
LINKER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload")

libc = ctypes.CDLL(None, use_errno=True)


def limit(memory: int, seconds: int, output: int) -> None:
    """Set the limits of this process; more than there is now is not asked for."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, output),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def leave_network() -> None:
    """Go where there is no network, if that is allowed."""
    if libc.unshare(NEW_NET | NEW_IPC | NEW_UTS) != 0:
        libc.unshare(NEW_USER | NEW_NET)


def wall_off(program: str, readable: list[int], writable: list[int]) -> bool:
    """Forbid every file but those given and the system's libraries. False, and nothing forbidden, where the kernel cannot."""
    version = libc.syscall(CREATE_RULESET, None, 0, VERSION)
    if version < 1:
        return False
    rights = RIGHTS_BY_VERSION[min(version, 3)]
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(ctypes.c_uint64(rights)), 8, 0)
    if ruleset < 0:
        return False
    prefix = str(Path(program).resolve().parent.parent)
    places = {*LIBRARIES, prefix if len(prefix) > 1 else program}
    for path in (*places, *LINKER_FILES):
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        folder = READ_FOLDER if Path(path).is_dir() else 0
        _allow(ruleset, place, EXECUTE | READ_FILE | folder)
        os.close(place)
    known = [_allow(ruleset, file, READ_FILE) for file in readable]
    known += [_allow(ruleset, file, (READ_FILE | WRITE_FILE | TRUNCATE) & rights) for file in writable]
    walled = all(known) and libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return walled


def _allow(ruleset: int, place: int, rights: int) -> bool:
    return bool(libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, place), 0) == 0)


def drop_rights(user: int | None, group: int | None) -> None:
    """Become another user where one is given, and lose every capability in any case."""
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    if user is not None and group is not None:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)


def main() -> None:
    """Set up the cell and become the program."""
    cell = json.loads(sys.argv[1])
    program = sys.argv[2]
    limit(cell["memory"], cell["seconds"], cell["output"])
    leave_network()
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    wall_off(program, cell["readable"], cell["writable"])
    drop_rights(cell["user"], cell["group"])
    libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != cell["parent"]:  # it died before
        os.kill(os.getpid(), signal.SIGKILL)
    os.umask(0o077)
    os.execve(program, sys.argv[2:], {})  # noqa: S606  there is no shell


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_CELL)
