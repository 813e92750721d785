"""Real systemd starts the units on a small machine of its own: they publish, maintain, reload and stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.deploy.unit import DATA, ROOT, TIMERS
from tests.e2e.process import DESCRIBED, wait_until
from tests.publishing.shop import as_qcow2, disk

PROGRAM = "/opt/phimage/bin/phimage"
SYSTEMD = Path("/lib/systemd/systemd")
PYTHON = Path(f"/usr/bin/python3.{sys.version_info.minor}")
ENDPOINT = "http://127.0.0.1:8080"
BOOT_SECONDS = 60
COMMAND_SECONDS = 300

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine"),
    pytest.mark.skipif(
        not (SYSTEMD.exists() and PYTHON.exists() and shutil.which("qemu-img")),
        reason=f"{SYSTEMD}, {PYTHON} or qemu-img is not installed; on Debian: apt-get install systemd python3-venv qemu-utils",
    ),
]


class Machine:
    """A machine that was booted by `boot.sh`. Its network is its own loopback."""

    def __init__(self, folder: Path) -> None:
        self._name = f"phimage-test-{os.getpid()}-{time.monotonic_ns()}"
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        namespaces = ("--kill-child", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork")
        boot = ["bash", str(Path(__file__).with_name("boot.sh")), self._name, str(ROOT), packages, str(folder)]
        self._log = folder.with_suffix(".log")
        folder.mkdir()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(["unshare", *namespaces, *boot], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self._process.poll() is not None or self._is_up(), BOOT_SECONDS)
        assert self._process.poll() is None, self._log.read_text()

    def _is_up(self) -> bool:
        return self._first() is not None and self.run("systemctl", "is-active", "machine.target", check=False) == "active\n"

    def _first(self) -> str | None:
        """The number of its first process, once that is systemd."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        with suppress(OSError):
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                return children[0]
        return None

    def run(
        self, *command: str, text: str = "", check: bool = True, variables: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """What a command on the machine prints."""
        first = self._first()
        assert first is not None, self._log.read_text()
        ended = subprocess.run(
            ["nsenter", "-t", first, "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", "--", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **variables},
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert ended.returncode == 0 or not check, (command, ended.stdout, ended.stderr, self.journal())
        return ended.stdout

    def journal(self) -> str:
        """The last lines of its journal."""
        return self.run("journalctl", "--no-pager", "-n", "100", check=False)

    def put(self, file: Path, place: str) -> None:
        """Copy a file to the machine."""
        shutil.copyfile(file, f"/proc/{self._first()}/root{place}")

    def close(self) -> None:
        """End it, and remove its control groups."""
        first = self._first()
        os.kill(int(first) if first else self._process.pid, signal.SIGKILL)  # the first one's parent reaps it and ends
        self._process.wait()
        for group in Path("/sys/fs/cgroup").glob(f"**/{self._name}"):
            wait_until(lambda group=group: _removed(group), BOOT_SECONDS)  # type: ignore[misc]


def _removed(group: Path) -> bool:
    for folder, _folders, _files in os.walk(group, topdown=False):
        with suppress(OSError):  # a process is still ending
            Path(folder).rmdir()
    return not group.exists()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine")
    yield machine
    machine.close()


def key_of(machine: Machine) -> dict[str, str]:
    """The variables of a command with a new key of the operator, made as the page says."""
    printed = machine.run("runuser", "-u", "phimage", "--", PROGRAM, "key", "recover", "--data-dir", DATA)
    public, private = (line.split()[-1] for line in printed.splitlines() if " key   " in line or " key  " in line)
    return {"PHIMAGE_ENDPOINT": ENDPOINT, "PHIMAGE_PUBLIC_KEY": public, "PHIMAGE_PRIVATE_KEY": private}


def test_the_units_publish_maintain_reload_and_stop(machine: Machine, tmp_path: Path) -> None:
    machine.put(as_qcow2(disk(tmp_path)), "/srv/disk.qcow2")
    machine.run("systemctl", "enable", "--now", "phimage", "phimage-publisher", *(path.name for path in TIMERS))
    key = key_of(machine)
    machine.run(PROGRAM, "catalog", "apply", "-", text=machine.run(PROGRAM, "catalog", "starter"), variables=key)

    image = machine.run(PROGRAM, "image", "publish", "/srv/disk.qcow2", "--trust-first-use", *DESCRIBED, variables=key).strip()
    machine.run("systemctl", "reload", "phimage")

    shown = json.loads(machine.run(PROGRAM, "image", "show", image, "--json", variables=key))
    assert shown["Image"]["State"] == "Available"
    walls = next(
        line for line in machine.run("journalctl", "-o", "cat", "-u", "phimage-publisher").splitlines() if "walls" in line
    )
    assert json.loads(walls)["missing"] == {}
    assert json.loads(walls)["mechanisms"] == ["namespace", "filter", "landlock"]
    for name in ("gc", "verify", "backup", "drill"):
        machine.run("systemctl", "start", f"phimage-{name}")
    assert all(path.name in machine.run("systemctl", "list-timers") for path in TIMERS)
    machine.run("systemctl", "stop", "phimage-publisher", "phimage")
    ended = machine.run("systemctl", "show", "-p", "Result,ExecMainStatus", "phimage", "phimage-publisher")
    assert ended.split() == ["Result=success", "ExecMainStatus=0"] * 2
