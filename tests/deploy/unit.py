"""Units of `deploy/` as systemd reads them, and the command that starts one within its walls without systemd.

bubblewrap has the walls of files and users. `system_calls.py` has those of system calls, in the started process.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = sorted(DEPLOY.glob("*.service"))
TIMERS = sorted(DEPLOY.glob("*.timer"))

PROGRAM = "/opt/phimage"
DATA, BACKUPS = "/var/lib/phimage", "/var/backups/phimage"
USER = "10001"
NAMESPACES = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}


class Unit:
    """A unit file. `settings` has the values of each key, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: dict[str, list[str]] = {}
        for line in path.read_text("utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings.setdefault(key, []).append(value)

    def all(self, key: str) -> list[str]:
        """The values of a key that may be given more than once."""
        return self.settings.get(key, [])

    def one(self, key: str) -> str:
        """The value of a key."""
        [value] = self.settings[key]
        return value

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the unit; those of its files are left out."""
        words = shlex.split(" ".join(self.all("Environment")))
        return dict(word.split("=", 1) for word in words)

    @property
    def command(self) -> list[str]:
        """ExecStart, with its variables."""
        return shlex.split(Template(self.one("ExecStart")).substitute(self.environment))

    def system_calls(self) -> str:
        """What `system_calls.py` enforces."""
        namespaces = self.one("RestrictNamespaces")
        allowed = set() if namespaces == "yes" else set(namespaces.split())
        calls: set[str] = set(_calls("@default"))
        for value in self.all("SystemCallFilter"):
            named = {call for name in value.removeprefix("~").split() for call in _calls(name)}
            calls = calls - named if value.startswith("~") else calls | named
        families = self.one("RestrictAddressFamilies").split()
        return json.dumps({"calls": sorted(calls), "namespaces": sorted(NAMESPACES - allowed), "families": families})

    def within_walls(self, data: Path, backups: Path, *command: str) -> list[str]:
        """A command that runs another one, or that of the unit, as systemd would: with the data and backups in their places."""
        script = ["--", sys.executable, "-I", "-S", str(Path(__file__).with_name("system_calls.py")), self.system_calls()]
        places = ["--bind", str(data), DATA, "--bind", str(backups), BACKUPS, "--remount-ro", "/", "--chdir", "/"]
        return ["bwrap", *_mounts(), *places, *script, *(command or self.command)]


def _mounts() -> Iterator[str]:
    """A read-only system with empty temporary folders and homes, and without devices, privileges and rights."""
    yield from ("--unshare-user", "--uid", USER, "--gid", USER, "--cap-drop", "ALL", "--die-with-parent")
    for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "sys"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/home")
    for place in dict.fromkeys((str(ROOT), sys.prefix, sys.base_prefix)):  # where this Python has its files
        yield from ("--ro-bind", place, place)
    yield from ("--ro-bind", sys.prefix, PROGRAM)


@cache
def _calls(name: str) -> tuple[str, ...]:
    """The system calls of a group of systemd, or the one of a name."""
    if not name.startswith("@"):
        return (name,)
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in listed.splitlines()[1:]]
    return tuple(call for line in lines if line and not line.startswith("#") for call in _calls(line))
