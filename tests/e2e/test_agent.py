"""The loop of orders with real processes: a server, an agent beside a loop device, and the commands of its operator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import pytest

from phimage.agent.hardware import this_machine
from tests.deploying import (
    MIB,
    Expected,
    check_deployed,
    check_not_bootable,
    gpt_image,
    loop_device,
    needs_loop_devices,
    old_target,
)
from tests.e2e.conftest import Installation, on_sqlite
from tests.e2e.process import Key, Phimage, wait_until
from tests.proxy import CountingProxy

SIZE, LARGER = 24 * MIB, 30 * MIB
IMAGE = gpt_image(SIZE)
EXPECTED = Expected(IMAGE, 512, LARGER)
ABOUT = (
    "--type",
    "base",
    "--name",
    "Debian",
    "--os-type",
    "Debian",
    "--os-name",
    "Debian 12",
    "--zone",
    "cn-bj2-02",
    "--support",
    "DB-2",
)
PLACE = {"PHIMAGE_REGION": "cn-bj2", "PHIMAGE_ZONE": "cn-bj2-02"}

pytestmark = [needs_loop_devices, pytest.mark.more]


class HostAndDisk:
    """A registered host whose system disk is a loop device of this machine."""

    def __init__(self, installation: Installation, device: str, target: Path, serial: str) -> None:
        self.url = installation.url
        self.operator = Phimage(installation.phimage.home, **{**installation.phimage.environment, **PLACE})
        self.device = device
        self.target = target
        self.serial = serial
        made = self.operator.json(
            *("host", "register", "--machine-type", "DB-2", "--cluster", "10G", "--serial", serial),
            *("--mac", this_machine(serial).macs[0], "--disk", f"path:{device}"),
        )
        self.id: str = made["PHostId"]
        self.token: str = made["EnrollToken"]

    def install(self, image: str) -> None:
        """Give the host to a new project, and install an image on it."""
        made = self.operator.json("account", "add", self.serial.lower())
        self.operator.well("host", "assign", self.id, made["ProjectId"])
        key = Key(made["PublicKey"], made["PrivateKey"])
        tenant = self.operator.using(self.url, key, PHIMAGE_PROJECT=made["ProjectId"])
        tenant.well("host", "reinstall", self.id, image, "--yes")

    def state(self) -> str:
        return str(self.shown()["State"])

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.operator.json("host", "show", self.id)
        return found

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.state() == state, 90)

    def settle(self) -> None:
        subprocess.run(["blockdev", "--flushbufs", self.device], check=True)

    @contextmanager
    def agent(self, *options: str, port: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Its agent, at the port of a proxy if one is given."""
        url = f"http://127.0.0.1:{port}" if port else self.url
        command = [sys.executable, "-m", "phimage.agent", "run", "--server", url, "--serial-number", self.serial, *options]
        environment = {**os.environ, "PHIMAGE_ENROLL_TOKEN": self.token}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def host(installation: Installation, request: pytest.FixtureRequest) -> Iterator[HostAndDisk]:
    with old_target(LARGER) as target, loop_device(target) as device:
        yield HostAndDisk(installation, device, target, f"SN-{crc32(request.node.name.encode()):x}")


def publish(host: HostAndDisk, folder: Path, image: bytes = IMAGE) -> str:
    raw = folder / "disk.raw"
    raw.write_bytes(image)
    return host.operator.well("image", "publish", str(raw), "--trust-first-use", *ABOUT).strip()


@on_sqlite
def test_an_order_deploys_an_image_and_a_release_cleans_the_disk(
    installation: Installation, host: HostAndDisk, tmp_path: Path
) -> None:
    image = publish(host, tmp_path)
    rebooted = tmp_path / "rebooted"
    with host.agent("--reboot-command", f"touch {rebooted}"):
        host.wait_for("Free")
        host.install(image)
        host.wait_for("Running")
        host.settle()
        check_deployed(host.target, EXPECTED)
        wait_until(rebooted.exists, 60)
        shown = host.shown()
        assert (shown["ImageId"], shown["Failure"]) == (image, "")

        host.operator.well("host", "release", host.id, "--yes")
        host.wait_for("Free")
    host.settle()
    assert host.target.read_bytes() == bytes(LARGER)


@on_sqlite
def test_an_agent_that_was_killed_goes_on_with_its_order_after_it_enrols_again(
    installation: Installation, host: HostAndDisk, tmp_path: Path
) -> None:
    image = publish(host, tmp_path)
    with CountingProxy(urlsplit(host.url).port or 0) as proxy:
        proxy.act(2 * MIB, proxy.stall)  # a part of the image
        with host.agent(port=proxy.port) as agent:
            host.wait_for("Free")
            host.install(image)
            wait_until(lambda: host.target.read_bytes()[:MIB] == bytes(MIB), 60)  # it wipes the head
            agent.kill()
            agent.wait()
    host.settle()
    check_not_bootable(host.device, host.target, EXPECTED)
    with host.agent():
        host.wait_for("Rescue")
    host.settle()
    check_deployed(host.target, EXPECTED)


@on_sqlite
def test_a_host_that_is_released_in_the_middle_is_written_no_more_and_then_cleaned(
    installation: Installation, host: HostAndDisk, tmp_path: Path
) -> None:
    image = publish(host, tmp_path)
    with host.agent():
        host.wait_for("Free")
        host.install(image)
        host.operator.well("host", "release", host.id, "--yes")
        host.wait_for("Free")
    host.settle()
    assert host.target.read_bytes() == bytes(LARGER)
