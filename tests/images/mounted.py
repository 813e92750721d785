"""The Debian disk, mounted and changed as an administrator would change a host."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.images.debian import START
from tests.images.kept import run

PACKAGES = ["less", "strace", "vim-tiny"]


def install_packages(disk: Path, folder: Path) -> None:
    """Install packages on a disk as an administrator would, and use it a little."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    with mounted(disk, folder / "mounted") as root:
        options = [f"Dir::State::status={root}/var/lib/dpkg/status", f"Dir::Cache::archives={archives}", "Debug::NoLocking=1"]
        words = [word for option in options for word in ("-o", option)]
        run("apt-get", "install", "-q", "-y", "--no-install-recommends", "--download-only", *words, *PACKAGES)
        shutil.copytree(archives, root / "archives")
        run("chroot", root, "sh", "-c", "dpkg --force-unsafe-io -i /archives/*.deb && rm -r /archives")
        (root / "var/log/application.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
        (root / "etc/hostname").write_text("changed\n")
        (root / "root/.bash_history").write_text("apt-get install less\n")


@contextmanager
def mounted(disk: Path, place: Path) -> Iterator[Path]:
    """The root file system of a disk, mounted."""
    if os.geteuid() != 0:
        pytest.skip("file systems are mounted by root")
    place.mkdir()
    with partition_device(disk) as device:
        subprocess.run(["mount", "-o", "noatime", device, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    place.rmdir()


@contextmanager
def partition_device(disk: Path) -> Iterator[str]:
    """The first partition as a loop device of its own: the kernel need not read the partition table."""
    made = subprocess.run(["losetup", "-f", "--show", "-o", str(START), disk], capture_output=True, text=True, check=True)
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
