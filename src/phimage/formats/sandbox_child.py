"""The entry of a sandboxed process: limits and isolates its own process, then executes the program. Run as a script.

A separate script, because setting limits between fork and exec of a process with threads can deadlock. It imports only the
standard library. Its first argument is JSON, see `run_sandboxed` in `sandbox.py`; the others are the program and its arguments.
A measure that the kernel or a missing right does not allow is skipped, except the limits, which must succeed. In order:

- limits: address space, CPU seconds, file size, no core dump, few open files
- no network: a namespace of its own, as root or where users may create namespaces
- no other file: Landlock lets the program read system libraries, read the image, write the output, and nothing else
- no privileges: no capabilities, another user where one is given, none gained from a program file
- no orphan: the process is killed with the thread that started it
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
NOT_STARTED = 125
"""The exit status of a process that could not execute the program."""

LIBRARIES = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/gnu/store")
LINKER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload")

libc = ctypes.CDLL(None, use_errno=True)


def limit(memory: int, seconds: int, output: int) -> None:
    """Set the resource limits of this process, none above its present hard limit."""
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
    """Enter a namespace without a network, if that is allowed."""
    if libc.unshare(NEW_NET | NEW_IPC | NEW_UTS) != 0:
        libc.unshare(NEW_USER | NEW_NET)


def restrict_files(program: str, readable: list[int], writable: list[int]) -> bool:
    """Forbid every file except the given ones and the system's libraries. Returns False, without effect, without Landlock."""
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
    allowed = [_allow(ruleset, file, READ_FILE) for file in readable]
    allowed += [_allow(ruleset, file, (READ_FILE | WRITE_FILE | TRUNCATE) & rights) for file in writable]
    restricted = all(allowed) and libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def _allow(ruleset: int, place: int, rights: int) -> bool:
    return bool(libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, place), 0) == 0)


def drop_privileges(user: int | None, group: int | None) -> None:
    """Switch to another user if one is given, and drop every capability in any case."""
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    if user is not None and group is not None:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)


def main() -> None:
    """Enter the sandbox and execute the program."""
    settings = json.loads(sys.argv[1])
    program = sys.argv[2]
    limit(settings["memory"], settings["seconds"], settings["output"])
    leave_network()
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    restrict_files(program, settings["readable"], settings["writable"])
    drop_privileges(settings["user"], settings["group"])
    libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != settings["parent"]:  # the parent has died already
        os.kill(os.getpid(), signal.SIGKILL)
    os.umask(0o077)
    os.execve(program, sys.argv[2:], {})  # noqa: S606  there is no shell


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NOT_STARTED)
