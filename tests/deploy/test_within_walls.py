"""Server, publisher and maintenance work within the walls of their units, and the sandbox has all of its own there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.unit import DEPLOY, Unit
from tests.e2e.conftest import starter
from tests.e2e.process import COMMAND_SECONDS, DESCRIBED, START_SECONDS, STOP_SECONDS, Key, Phimage, wait_until
from tests.publishing.shop import as_qcow2, disk
from tests.uploading import port_of, reserved_port

NEEDED = ("bwrap", "systemd-analyze", "qemu-img", "sfdisk")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [name for name in NEEDED if shutil.which(name, path=PATH) is None]

pytestmark = [
    pytest.mark.more,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"{', '.join(MISSING)} not installed; on Debian: apt-get install bubblewrap systemd qemu-utils fdisk",
    ),
]


class Started(NamedTuple):
    """A process within walls, and the file with its output."""

    process: subprocess.Popen[bytes]
    output: Path

    def printed(self) -> str:
        return self.output.read_text("utf-8")


class Machine:
    """A machine of its own, with the folders of the units, on which units are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reserved = reserved_port()
        self.port = port_of(self._reserved)
        self._started: list[Started] = []
        for name in ("data", "backups"):
            (folder / name).mkdir()

    def start(self, name: str, walls_of: str = "", **variables: str) -> Started:
        """Start the command of a unit, within its walls or those of another unit."""
        unit = Unit(DEPLOY / f"{name}.service")
        walls = Unit(DEPLOY / f"{walls_of or name}.service")
        command = walls.within_walls(self.folder / "data", self.folder / "backups", *unit.command)
        environment = {**unit.environment, "PHIMAGE_PORT": str(self.port), "PHIMAGE_MIN_FREE_MB": "64", **variables}
        output = self.folder / f"{name}-{len(self._started)}.out"
        with output.open("w") as file:
            process = subprocess.Popen(
                command, env={"PATH": PATH, **environment}, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
            )
        self._started.append(Started(process, output))
        return self._started[-1]

    def ended(self, name: str, walls_of: str = "", **variables: str) -> tuple[int, str]:
        """The exit code and the output of a unit that ends."""
        started = self.start(name, walls_of, **variables)
        return started.process.wait(COMMAND_SECONDS), started.printed()

    def close(self) -> None:
        for started in self._started:
            if started.process.poll() is None:
                os.killpg(started.process.pid, signal.SIGTERM)
                started.process.wait(STOP_SECONDS)
        self._reserved.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def operator(machine: Machine, tmp_path: Path) -> Phimage:
    """The operator's command line, outside the walls, with a started server and a catalogue."""
    server = machine.start("phimage")
    wait_until(lambda: "listening on" in server.printed() or server.process.poll() is not None, START_SECONDS)
    key = re.search(r"public key +(\S+)\n +private key +(\S+)", server.printed())
    assert key is not None, server.printed()
    found = Phimage(tmp_path / "home").using(f"http://127.0.0.1:{machine.port}", Key(key[1], key[2]))
    found.well("catalog", "apply", "-", text=starter())
    return found


def walls_of(publisher: Started) -> dict[str, object]:
    """What a publisher logged about its sandbox."""
    lines = [json.loads(line) for line in publisher.printed().splitlines(keepends=True) if line[0] + line[-1] == "{\n"]
    found: dict[str, object] = next(line for line in lines if line["event"] == "sandbox.walls")
    return found


def test_a_qcow2_is_published_and_maintained_within_the_walls(machine: Machine, operator: Phimage, tmp_path: Path) -> None:
    original = as_qcow2(disk(tmp_path))
    publisher = machine.start("phimage-publisher")

    image = operator.well("image", "publish", str(original), "--trust-first-use", *DESCRIBED).strip()

    assert operator.json("image", "show", image)["Image"]["State"] == "Available", publisher.printed()
    walls = walls_of(publisher)
    assert walls["missing"] == {}
    assert walls["mechanisms"] == ["namespace", "filter", "landlock"]
    for name in ("gc", "verify", "backup", "drill"):
        code, printed = machine.ended(f"phimage-{name}")
        assert code == 0, (name, printed)


def test_a_publisher_whose_unit_forbids_landlock_refuses_to_work(machine: Machine, operator: Phimage) -> None:
    code, printed = machine.ended("phimage-publisher", walls_of="phimage")

    assert code == 78, printed
    assert "a sandbox without a wall: files (landlock: Operation not permitted): use a kernel with Landlock" in printed
    assert "require_sandbox = false" in printed
