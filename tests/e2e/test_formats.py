"""One disk, published in six formats through a real server, is one image's bytes six times; and they come back as they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import urllib3

from tests.e2e.conftest import Installation, on_sqlite
from tests.images.debian import debian_disk
from tests.images.kept import run
from tests.images.packaged import packaged_disc
from tests.images.variants import qemu_format, variant

pytestmark = pytest.mark.more

SIX = ("raw", "qcow2", "qcow2, compressed", "vmdk", "vhdx", "zst")
WHAT = ("--os-type", "Debian", "--os-name", "Debian 12 64bit", "--zone", "cn-bj2-02", "--support", "DB-2", "--trust-first-use")


@on_sqlite
def test_a_disc_of_a_debian_package_is_the_same_image_in_all_six(installation: Installation, tmp_path: Path) -> None:
    _publish_and_compare(packaged_disc("memtest"), installation, tmp_path)


@on_sqlite
@pytest.mark.torture
def test_a_bootable_debian_is_the_same_image_in_all_six(installation: Installation, tmp_path: Path) -> None:
    _publish_and_compare(debian_disk(), installation, tmp_path)


def _publish_and_compare(disk: Path, installation: Installation, folder: Path) -> None:
    phimage, digests = installation.phimage, set()
    for name in SIX:
        file = variant(name, disk)
        image = phimage.well("image", "publish", str(file), "--type", "base", "--name", f"{disk.name} as {name}", *WHAT).strip()
        urls = phimage.json("image", "url", image)
        digests.add(urls["Digest"])
        got = urllib3.request("GET", urls["RawUrl"], timeout=60).data
        converted = folder / "converted.raw"
        if qemu_format(name) == "raw":
            converted = disk
        else:
            run("qemu-img", "convert", "-f", qemu_format(name), "-O", "raw", file, converted)
        assert hashlib.sha256(got).hexdigest() == hashlib.sha256(converted.read_bytes()).hexdigest(), name
        assert urls["DiskSize"] == len(got) == converted.stat().st_size
        shown = phimage.json("image", "show", image)
        assert shown["Disk"]["Digest"] == urls["Digest"]
        assert shown["Image"]["State"] == "Available"
    assert digests == {f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}"}
