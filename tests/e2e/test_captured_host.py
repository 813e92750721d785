"""The whole loop on real disks: an image is published, deployed, changed, captured, and deployed to another disk."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deploying import loop_device, needs_loop_devices
from tests.e2e.conftest import Installation, on_sqlite
from tests.e2e.process import DESCRIBED
from tests.e2e.rack import Rack, agent, machine
from tests.images.debian import debian_disk
from tests.images.kept import run
from tests.images.mounted import install_packages, mounted, partition_device
from tests.images.test_boot import boot
from tests.proxy import StallingProxy

SERIAL = "PHIMAGE-T18"
MIB = 1 << 20
PLACE = ("--region", "cn-bj2", "--zone", "cn-bj2-02")


def aa(path: Path) -> Path:
    """A used disk of 512 MiB."""
    with path.open("wb") as file:
        for _ in range(512):
            file.write(b"\xaa" * MIB)
    return path


@needs_loop_devices
@pytest.mark.more
@on_sqlite
def test_an_agent_captures_by_order_and_goes_on_after_a_kill(installation: Installation, tmp_path: Path) -> None:
    serial = "PHIMAGE-FILE"
    rack, hardware, disk = Rack(installation), machine(serial), tmp_path / "disk"
    disk.write_bytes(random.Random(16).randbytes(40 * MIB) + bytes(24 * MIB))
    run("sfdisk", "-q", disk, text="label: gpt\nstart=1MiB, size=50MiB\n")
    with loop_device(disk) as device:
        host = rack.register(serial, hardware.macs[0], f"path:{device}")
        with (
            StallingProxy(urlsplit(installation.url).port or 0, 8 * MIB) as proxy,
            agent(f"http://127.0.0.1:{proxy.port}", host, serial, tmp_path / "first.log") as first,
        ):
            rack.wait_for(host, "Free")
            rack.operator.well("host", "assign", host.id, rack.project)
            image = rack.owner.well("host", "capture", host.id, "trimmed", "--trim").strip()
            assert rack.owner.well("host", "capture", host.id, "trimmed", "--trim").strip() == image
            assert proxy.stalled.wait(60), "it sends nothing of the disk"
            first.kill()
        with agent(installation.url, rack.new_token(host), serial, tmp_path / "second.log"):
            rack.wait_for_image(image)
    shown = rack.owner.json("image", "show", image)
    assert shown["Image"]["State"] == "Available"
    url = rack.owner.well("image", "url", image).strip()
    captured = tmp_path / "captured"
    run("curl", "-sSf", "-o", captured, url)
    assert captured.stat().st_size == 52 * MIB
    assert captured.read_bytes()[MIB : 51 * MIB] == disk.read_bytes()[MIB : 51 * MIB]
    assert "No errors" in run("sfdisk", "--verify", captured)


@needs_loop_devices
@pytest.mark.torture
@on_sqlite
def test_a_captured_host_is_deployed_and_boots(installation: Installation, tmp_path: Path) -> None:
    rack, hardware = Rack(installation), machine(SERIAL)
    published = installation.phimage.execute("image", "publish", str(debian_disk()), "--trust-first-use", *DESCRIBED)
    image = published.out.strip()
    with (
        loop_device(aa(tmp_path / "first")) as first,
        loop_device(aa(tmp_path / "second")) as second,
    ):
        host = rack.register(SERIAL, hardware.macs[0], f"path:{first}")
        with agent(installation.url, host, SERIAL, tmp_path / "agent.log"):
            rack.wait_for(host, "Free")
            rack.operator.well("host", "assign", host.id, rack.project)
            rack.owner.well("host", "reinstall", host.id, image, "--yes")
            rack.wait_for(host, "Rescue", "Failed", seconds=600)
            assert rack.row(host)["ImageId"] == image, (tmp_path / "agent.log").read_text()
            install_packages(Path(first), tmp_path)
            captured = rack.capture(host, "changed")
        progress = rack.operator.json("image", "progress", captured, *PLACE)
        shown = rack.owner.json("image", "show", captured)
        assert (shown["Image"]["ImageSize"], shown["Image"]["OsName"]) == (1, "Debian 12 64bit")
        assert any(finding.startswith("hygiene.history: /root/.bash_history") for finding in shown["Origin"]["Findings"])
        # Its disk is the deployed image with some changes: the store has the rest.
        assert progress["Reused"] > 200 * MIB
        said = rack.owner.execute("image", "deploy", captured, second, "--yes", Path(second).name, "--sector-size", "512")
        assert said.code == 0, said
        with partition_device(Path(second)) as device:
            run("e2fsck", "-fn", device)
        with mounted(Path(first), tmp_path / "one") as one, mounted(Path(second), tmp_path / "two") as two:
            assert list(files(one)) == list(files(two))
    text = boot(tmp_path / "second", b"login: ")
    assert b"changed login: " in text, text[-2000:].decode("utf-8", "replace")


def files(root: Path) -> Iterator[tuple[object, ...]]:
    """Every file below a folder with all that matters, in order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = Path(folder, name)
            found = path.lstat()
            data: object = None
            if stat.S_ISREG(found.st_mode):
                data = sha256(path.read_bytes()).digest()
            elif stat.S_ISLNK(found.st_mode):
                data = path.readlink()
            yield path.relative_to(root), found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_rdev, data
