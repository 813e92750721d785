"""Restrict this process to the system calls of a unit, as systemd does, and execute a program. Run as a script.

The first argument is JSON of `Unit.system_calls`. There is a filter each for SystemCallFilter, RestrictNamespaces,
RestrictAddressFamilies and MemoryDenyWriteExecute.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys

ALLOW, REFUSE = 0x7FFF0000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
NAMESPACE_FLAGS = {
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "mnt": 0x00020000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "user": 0x10000000,
    "uts": 0x04000000,
}
MAX_FAMILY = 46
WRITE, EXECUTE = 2, 4

seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
seccomp.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("one", ctypes.c_uint64), ("other", ctypes.c_uint64))


class Filter:
    """A filter in the making. A call without a rule gets the default."""

    def __init__(self, default: int) -> None:
        self._filter = seccomp.seccomp_init(ctypes.c_uint32(default))

    def add(self, action: int, call: str, *comparison: int) -> None:
        """Add a rule for a call, or for a call with an argument. Calls of other architectures have none."""
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            compared = ctypes.byref(Comparison(*comparison)) if comparison else None
            assert seccomp.seccomp_rule_add_array(self._filter, action, number, 1 if comparison else 0, compared) == 0, call

    def load(self) -> None:
        """Enforce it from now on."""
        assert seccomp.seccomp_load(self._filter) == 0


def restrict(calls: list[str], namespaces: list[str], families: list[str]) -> None:
    """Enforce the settings of a unit."""
    others = Filter(ALLOW)
    for name in namespaces:
        flag = NAMESPACE_FLAGS[name]
        for call, argument in (("unshare", 0), ("clone", 0), ("setns", 1)):
            others.add(REFUSE | errno.EPERM, call, argument, MASKED_EQUAL, flag, flag)
    others.add(REFUSE | errno.ENOSYS, "clone3")
    others.load()
    sockets = Filter(ALLOW)
    for family in set(range(MAX_FAMILY)) - {getattr(socket, name) for name in families}:
        sockets.add(REFUSE | errno.EAFNOSUPPORT, "socket", 0, EQUAL, family, 0)
    sockets.load()
    memory = Filter(ALLOW)
    memory.add(REFUSE | errno.EPERM, "mmap", 2, MASKED_EQUAL, WRITE | EXECUTE, WRITE | EXECUTE)
    for call in ("mprotect", "pkey_mprotect"):
        memory.add(REFUSE | errno.EPERM, call, 2, MASKED_EQUAL, EXECUTE, EXECUTE)
    memory.load()
    known = Filter(REFUSE | errno.EPERM)
    for call in calls:
        known.add(ALLOW, call)
    known.load()  # the last: it forbids to load another one


if __name__ == "__main__":
    restrict(**json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
