"""The rescue system on an emulated machine: it deploys an image to the machine's disk, and captures it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Installation, starter
from tests.e2e.process import DESCRIBED, PHIMAGE, Server
from tests.e2e.rack import Host, Rack
from tests.e2e.test_tls import home_with, make_certificate
from tests.images.debian import SIZE, debian_disk
from tests.images.kept import run

MIB = 1 << 20
SERIAL, MAC, DISK = "PHIMAGE-TCG-1", "52:54:00:16:00:01", "disk-16"
GUESTS_HOST = "10.0.2.2"
"""The address of this machine in qemu's user network."""
MAX_INITRAMFS = 90 * MIB
SECONDS = 1200
BOOT_SECONDS = 600

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="on Debian: apt-get install qemu-system-x86"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the packages of the rescue system are unpacked by root"),
]


class Machine:
    """An emulated machine with one disk, which boots the rescue system over no network but from the files themselves."""

    def __init__(self, folder: Path, server: str, disk: Path) -> None:
        self._folder = folder
        self._server = server
        self._disk = disk
        self.log = folder / "console.log"

    @contextmanager
    def booted(self, host: Host) -> Iterator[subprocess.Popen[bytes]]:
        """The machine, running. It ends by itself when it reboots."""
        script = (self._folder / "boot.ipxe").read_text()
        (kernel,) = [line for line in script.splitlines() if line.startswith("kernel ")]
        options = kernel.partition(" initrd=initrd.img ")[2].replace("${server}", self._server).replace("${token}", host.token)
        hardware = [
            *("-accel", "tcg", "-m", "1024", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio"),
            *("-smbios", f"type=1,serial={SERIAL}", "-nic", f"user,model=virtio-net-pci,mac={MAC}"),
            *("-drive", f"file={self._disk},format=raw,if=none,id=disk", "-device", f"virtio-blk-pci,drive=disk,serial={DISK}"),
        ]
        system = ["-kernel", str(self._folder / "vmlinuz"), "-initrd", str(self._folder / "initrd.img"), "-append", options]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(
                ["qemu-system-x86_64", *hardware, *system], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()
                sys.stderr.write(self.log.read_text("utf-8", "replace")[-3000:])  # shown if the test fails


def test_the_rescue_system_boots_deploys_and_captures(tmp_path: Path) -> None:
    began = time.monotonic()
    files = make_certificate(tmp_path, address=GUESTS_HOST)
    home = home_with(tmp_path, files, PHIMAGE_PUBLISHERS="1")
    with Server(home, "serve", "--port", "0", "--data-dir", "data") as server:
        assert server.new_key is not None
        installation = Installation(server, server.new_key, home.using(server.url, server.new_key))
        installation.phimage.well("catalog", "apply", "-", text=starter())
        rack = Rack(installation)
        guests_server = f"https://{GUESTS_HOST}:{urlsplit(server.url).port}"
        folder = tmp_path / "rescue"
        command = [PHIMAGE, "agent", "rescue", str(folder), "--server", guests_server, "--ca", str(files.certificate)]
        subprocess.run(command, env=home.environment, check=True, timeout=900)
        assert sorted(each.name for each in folder.iterdir()) == ["boot.ipxe", "initrd.img", "packages.txt", "vmlinuz"]
        assert (folder / "initrd.img").stat().st_size <= MAX_INITRAMFS

        image = installation.phimage.execute(
            "image", "publish", str(debian_disk()), "--trust-first-use", *DESCRIBED
        ).out.strip()
        disk = tmp_path / "disk"
        with disk.open("wb") as file:
            file.truncate(512 * MIB)
        machine = Machine(folder, guests_server, disk)
        host = rack.register(SERIAL, MAC, f"serial:{DISK}")
        with machine.booted(host) as process:
            rack.wait_for(host, "Free", seconds=BOOT_SECONDS)
            rack.operator.well("host", "assign", host.id, rack.project)
            rack.owner.well("host", "reinstall", host.id, image, "--yes")
            assert process.wait(600) == 0  # it reboots into its disk, which ends the emulation
        assert rack.row(host)["State"] == "Running", machine.log.read_text("utf-8", "replace")[-3000:]
        with disk.open("rb") as deployed, debian_disk().open("rb") as original:
            assert sha256(deployed.read(SIZE)).digest() == sha256(original.read()).digest()

        with machine.booted(rack.new_token(host)):
            rack.wait_for(host, "Rescue", seconds=BOOT_SECONDS)
            captured = rack.capture(host, "of the emulated machine")
        shown = rack.owner.json("image", "show", captured)
        assert shown["Image"]["State"] == "Available"
        url = rack.owner.well("image", "url", captured, "--form", "sha256").strip()
        assert run("curl", "-sS", "--cacert", files.certificate, url).split()[0] == sha256(disk.read_bytes()).hexdigest()
    assert time.monotonic() - began < SECONDS
