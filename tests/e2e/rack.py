"""Hosts of a real installation: their project, their states, and agents as processes on this machine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from phimage.agent.hardware import Hardware, this_machine
from phimage.errors import ClientError
from tests.e2e.conftest import Installation
from tests.e2e.process import Key, Phimage, wait_until

PLACE = {"PHIMAGE_REGION": "cn-bj2", "PHIMAGE_ZONE": "cn-bj2-02"}
CAPTURE_SECONDS = 900


class Host(NamedTuple):
    """A registered host, and the token with which its agent enrols."""

    id: str
    token: str


class Rack:
    """The hosts of a project, with the command lines of the operator and of the project's owner."""

    def __init__(self, installation: Installation) -> None:
        self.operator = installation.phimage
        account = f"racks-{secrets.token_hex(4)}"
        self.project: str = self.operator.json("account", "add", account)["ProjectId"]
        made = self.operator.json("key", "create", "--account", account)
        self.key = Key(made["PublicKey"], made["PrivateKey"])
        self.owner: Phimage = self.operator.using(installation.url, self.key, PHIMAGE_PROJECT=self.project, **PLACE)

    def register(self, serial: str, mac: str, disk: str) -> Host:
        about = ("--zone", "cn-bj2-02", "--machine-type", "DB-2", "--cluster", "10G")
        made = self.operator.json("host", "register", *about, "--serial", serial, "--mac", mac, "--disk", disk)
        return Host(made["PHostId"], made["EnrollToken"])

    def new_token(self, host: Host) -> Host:
        """The host with another token, for another boot."""
        return Host(host.id, self.operator.json("host", "token", host.id)["EnrollToken"])

    def row(self, host: Host) -> dict[str, Any]:
        (row,) = [each for each in self.operator.json("host", "ls") if each["PHostId"] == host.id]
        found: dict[str, Any] = row
        return found

    def wait_for(self, host: Host, *states: str, seconds: float = 120) -> dict[str, Any]:
        """The row of a host that has come into a state."""
        wait_until(lambda: self.row(host)["State"] in states, seconds)
        return self.row(host)

    def capture(self, host: Host, name: str) -> str:
        """The id of the image that a capture made, when it is Available."""
        image = self.owner.well("host", "capture", host.id, name).strip()
        self.wait_for_image(image)
        return image

    def wait_for_image(self, image: str) -> None:
        """Wait until an image is Available."""
        with subprocess.Popen([self.owner.program, "image", "wait", image], env=self.owner.environment) as waiting:
            assert waiting.wait(CAPTURE_SECONDS) == 0


def machine(serial: str) -> Hardware:
    """What this machine says of itself, with another serial number. Skips the test where it has no network card."""
    try:
        return this_machine(serial)
    except ClientError as error:
        pytest.skip(str(error))


@contextmanager
def agent(url: str, host: Host, serial: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The agent of a host, as a process on this machine."""
    command = [sys.executable, "-m", "phimage.agent", "run", "--server", url, "--serial-number", serial]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env={**os.environ, "PHIMAGE_ENROLL_TOKEN": host.token}, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
