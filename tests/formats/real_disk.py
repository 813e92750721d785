"""Real disks: partition tables by sfdisk, file systems by mke2fs, swap by mkswap."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.formats.make import KIB, MIB

OS_RELEASE = """\
# a comment
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME='Debian GNU/Linux'
VERSION_ID=12
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44)
SBIN = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}


def root_folder(folder: Path) -> Path:
    """The files of a small system, merged /usr and all."""
    for name in ("etc", "usr/lib", "usr/bin", "boot", "a/b/c"):
        (folder / name).mkdir(parents=True)
    (folder / "usr/lib/os-release").write_text(OS_RELEASE)
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")
    (folder / "bin").symlink_to("usr/bin")
    (folder / "usr/bin/sh").symlink_to("dash")
    (folder / "usr/bin/dash").write_bytes(ELF)
    for name in ("vmlinuz-6.1.0-13-amd64", "vmlinuz-6.1.0-14-amd64", "initrd.img-6.1.0-14-amd64", "grub.cfg"):
        (folder / "boot" / name).write_bytes(b"kernel")
    return folder


def mke2fs(path: Path, *options: str, folder: Path | None = None, size: str = "8M", label: str = "root") -> Path:
    """A file system with the files of a folder."""
    files = ["-d", str(folder)] if folder else []
    command = ["mke2fs", "-q", "-F", "-L", label, "-E", "nodiscard", *files, *options, str(path), size]
    subprocess.run(command, check=True, env=SBIN, capture_output=True)
    return path


def mkswap(path: Path) -> Path:
    """A swap area of a MiB."""
    path.write_bytes(bytes(MIB))
    path.chmod(0o600)
    subprocess.run(["mkswap", "-q", "-L", "swap", str(path)], check=True, env=SBIN, capture_output=True)
    return path


def fat() -> bytes:
    """The boot sector of a FAT32 file system, and nothing else."""
    sector = bytearray(512)
    sector[:3], sector[3:11] = b"\xeb\x58\x90", b"mkfs.fat"
    sector[11:13], sector[13], sector[14:16], sector[16] = b"\x00\x02", 1, b"\x20\x00", 2
    sector[21], sector[32:36], sector[36:40] = 0xF8, (2048).to_bytes(4, "little"), (16).to_bytes(4, "little")
    sector[44:48], sector[66] = (2).to_bytes(4, "little"), 0x29
    sector[67:71], sector[71:82], sector[82:90] = b"\x78\x56\x34\x12", b"EFI        ", b"FAT32   "
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def sfdisk(path: Path, script: str, size: int) -> None:
    """An empty disk with a partition table."""
    with path.open("wb") as file:
        for offset, data in _partition_table(script, size):
            file.seek(offset)
            file.write(data)
        file.truncate(size)


@cache
def _partition_table(script: str, size: int) -> list[tuple[int, bytes]]:
    """The parts of such a disk that are not zeros. Cached: sfdisk syncs every file system of the machine before it ends."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "disk"
        with path.open("wb") as file:
            file.truncate(size)
        subprocess.run(["sfdisk", "-q", str(path)], input=script, text=True, check=True, env=SBIN, capture_output=True)
        data = path.read_bytes()
    parts = ((offset, data[offset : offset + 4 * KIB]) for offset in range(0, size, 4 * KIB))
    return [(offset, part) for offset, part in parts if part.strip(b"\0")]


def put(disk: Path, offset: int, content: bytes | Path) -> None:
    """Write into a disk."""
    data = content.read_bytes() if isinstance(content, Path) else content
    with disk.open("r+b") as file:
        for place in range(0, len(data), 64 * KIB):
            part = data[place : place + 64 * KIB]
            if part.strip(b"\0"):
                file.seek(offset + place)
                file.write(part)


def blkid(path: Path) -> dict[str, str]:
    """What libblkid says of a file system."""
    command = ["blkid", "-p", "-o", "export", str(path)]
    done = subprocess.run(command, env=os.environ | SBIN, capture_output=True, text=True, check=False)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
