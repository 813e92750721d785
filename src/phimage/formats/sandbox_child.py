"""The entry of a sandboxed process: limits and isolates its own process, then executes the program. Run as a script.

A separate script, because setting limits between fork and exec of a process with threads can deadlock. It imports only the
standard library. Its first argument is JSON, see `ChildSettings` in `sandbox.py`; the others are the program and its arguments.
In order:

- limits: address space, CPU seconds, file size, no core dump, few open files
- no network: a namespace of its own, as root or where users may create namespaces
- no sockets: a seccomp filter, which also covers Unix sockets
- no other file: Landlock lets the program read system libraries, read the image, write the output, and nothing else
- no privileges: no capabilities, another user where one is given, none gained from a program file
- no orphan: the process is killed with the thread that started it

The kernel or a missing right may not allow a namespace, the filter or Landlock. `WALLS` says what each is for; the program is
not started if a required wall is missing. Without a program the script tries its walls and prints what it found, as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

NEW_USER, NEW_UTS, NEW_IPC, NEW_NET = 0x10000000, 0x04000000, 0x08000000, 0x40000000
SET_DEATH_SIGNAL, SET_SECCOMP, DROP_BOUNDING, NO_NEW_PRIVILEGES = 1, 22, 24, 38
LAST_CAPABILITY = 63

SECCOMP_FILTER = 2
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET = 0, 4
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
X32 = 0x40000000
"""From this number on, x86_64 has the system calls of another architecture once more."""
IO_URING_SETUP = 425
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SOCKET_CALLS = {"x86_64": (41, IO_URING_SETUP), "aarch64": (198, IO_URING_SETUP)}
"""The calls that make sockets: `socket`, and io_uring, whose operations no filter sees."""

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
NOT_STARTED = 125
"""The exit status of a process that could not execute the program."""

LIBRARIES = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/gnu/store")
LINKER_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload")

WALLS: dict[str, tuple[str, ...]] = {"files": ("landlock",), "network": ("namespace", "filter")}
"""What is kept from the program, and the mechanisms of which one must work. Limits work, or the program does not start."""

libc = ctypes.CDLL(None, use_errno=True)


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog` of the kernel."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


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


def leave_network() -> str:
    """Enter a namespace without a network. Returns why that failed, or ""."""
    if libc.unshare(NEW_NET | NEW_IPC | NEW_UTS) == 0 or libc.unshare(NEW_USER | NEW_NET) == 0:
        return ""
    return _reason()


# docs/decisions.md#two-mechanisms-keep-qemu-img-off-the-network
def forbid_sockets() -> str:
    """Have the kernel refuse the calls that make sockets. Returns why that failed, or ""."""
    machine = os.uname().machine
    if machine not in SOCKET_CALLS or struct.calcsize("P") != 8:
        return f"there is none for {machine}"
    return forbid(SOCKET_CALLS[machine])


def forbid(calls: tuple[int, ...], answer: int = DENY) -> str:
    """Have the kernel answer calls without making them. Needs `NO_NEW_PRIVILEGES` and no privilege. Returns like the above."""
    instructions = _filter(ARCHITECTURES[os.uname().machine], calls, answer)
    program = FilterProgram(len(instructions) // 8, instructions)
    return "" if libc.prctl(SET_SECCOMP, SECCOMP_FILTER, ctypes.byref(program), 0, 0) == 0 else _reason()


def _filter(architecture: int, calls: tuple[int, ...], answer: int) -> bytes:
    """A program that answers these calls, and every call of another architecture. A jump skips so many instructions."""
    steps = [(LOAD, 0, 0, ARCHITECTURE_OFFSET), (JUMP_IF_EQUAL, 0, len(calls) + 2, architecture)]
    steps += [(LOAD, 0, 0, NUMBER_OFFSET), (JUMP_IF_AT_LEAST, len(calls), 0, X32)]
    steps += [(JUMP_IF_EQUAL, len(calls) - 1 - number, 0, call) for number, call in enumerate(calls[:-1])]
    steps += [(JUMP_IF_EQUAL, 0, 1, calls[-1]), (RETURN, 0, 0, answer), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def restrict_files(program: str, readable: list[int], writable: list[int]) -> str:
    """Forbid every file except the given ones and the system's libraries. Returns why that failed, without effect, or ""."""
    version = libc.syscall(CREATE_RULESET, None, 0, VERSION)
    if version < 1:
        return _reason()
    rights = RIGHTS_BY_VERSION[min(version, 3)]
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(ctypes.c_uint64(rights)), 8, 0)
    if ruleset < 0:
        return _reason()
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
    failed = "" if all(allowed) and libc.syscall(RESTRICT_SELF, ruleset, 0) == 0 else _reason()
    os.close(ruleset)
    return failed


def _allow(ruleset: int, place: int, rights: int) -> bool:
    return bool(libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, place), 0) == 0)


def _reason() -> str:
    return os.strerror(ctypes.get_errno())


def drop_privileges(user: int | None, group: int | None) -> None:
    """Switch to another user if one is given, and drop every capability in any case."""
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    if user is None or group is None:
        return
    try:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError:  # root in a container without capabilities, or in a user namespace without this user
        raise PermissionError(
            errno.EPERM, "root may not become another user here; start phimage as a user of its own"
        ) from None


def enter(
    program: str,
    *,
    memory: int,
    seconds: int,
    output: int,
    readable: list[int],
    writable: list[int],
    user: int | None,
    group: int | None,
    parent: int,
) -> dict[str, str]:
    """Limit and isolate this process. Returns for each mechanism why it does not work, "" where it does."""
    limit(memory, seconds, output)
    namespace = leave_network()
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    failed = {
        "namespace": namespace,
        "filter": forbid_sockets(),
        "landlock": restrict_files(program, readable, writable),
    }
    drop_privileges(user, group)
    libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent has died already
        os.kill(os.getpid(), signal.SIGKILL)
    os.umask(0o077)
    return failed


def missing(failed: dict[str, str]) -> dict[str, str]:
    """The walls of which no mechanism works, with the reasons."""
    return {
        wall: ", ".join(f"{mechanism}: {failed[mechanism]}" for mechanism in mechanisms)
        for wall, mechanisms in WALLS.items()
        if all(failed[mechanism] for mechanism in mechanisms)
    }


# docs/decisions.md#walls-are-tried-and-not-asked-for
def try_walls(text: str) -> str:
    """Enter the sandbox and attempt what each wall forbids and everyone else may do. Returns JSON, see `walls.py`."""
    import mmap  # late, because programs need neither; and before the walls, behind which they may be unreadable
    import socket

    def connect() -> None:
        """Without a packet. Fails without a socket, and in a network without interfaces."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.connect(("127.0.0.1", 9))

    settings = json.loads(text)
    del settings["required"]  # a missing wall is the result here, and no error
    failed = enter(sys.executable, **settings)
    attempts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("limits", lambda: mmap.mmap(-1, settings["memory"]).close()),
        ("files", lambda: os.close(os.open("/", os.O_RDONLY))),
        ("files", lambda: os.close(os.open("/dev/null", os.O_WRONLY))),
        ("network", connect),
    )
    passable = [wall for wall, attempt in attempts if _succeeds(attempt)]
    mechanisms = [name for name, reason in failed.items() if not reason]
    return json.dumps({"mechanisms": mechanisms, "missing": missing(failed), "passable": passable})


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def main() -> None:
    """Enter the sandbox and execute the program, or try the walls."""
    text, command = sys.argv[1], sys.argv[2:]
    if not command:
        sys.stdout.write(try_walls(text))
        return
    settings = json.loads(text)
    required = settings.pop("required")
    absent = missing(enter(command[0], **settings))
    if absent and required:
        raise OSError(f"the sandbox lacks walls: {'; '.join(absent.values())}")
    os.execve(command[0], command, {})  # noqa: S606  there is no shell


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NOT_STARTED)
