"""The disks of this machine and what uses them, from /sys and /proc. Nothing is opened, so any user can look."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
"""The unit of sizes in /sys, whatever the disk's sectors are."""

_NO_DISKS = ("ram", "zram", "sr", "fd", "dm-", "md", "mtdblock", "nbd")
"""Devices that are no disks, or made of others."""
_SYSTEM_MOUNTS = frozenset({"/", "/boot", "/usr", "/run/live/medium", "/run/initramfs/live"})


@dataclass(frozen=True)
class Mount:
    """A mounted file system, by the numbers of its device and the device that was named."""

    device: str
    source: str
    place: str


@dataclass(frozen=True)
class FoundDisk:
    """A disk of this machine. `wwn` and `serial` are empty where it has none."""

    name: str  # of the kernel, such as nvme0n1
    path: str
    size: int  # bytes
    sector_size: int  # logical
    wwn: str = ""
    serial: str = ""
    model: str = ""
    removable: bool = False
    read_only: bool = False
    is_loop: bool = False
    mounts: tuple[str, ...] = ()
    swaps: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    is_own: bool = False
    """Whether this running system is on it."""

    @property
    def identity(self) -> str:
        """What a person types to confirm the disk: its serial number, else its wwn, else its name."""
        return self.serial or self.wwn or self.name


@dataclass(frozen=True)
class System:
    """Where a system shows its devices; other folders are for tests."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


def find_disks(system: System = System()) -> list[FoundDisk]:
    """All disks with a medium, by name."""
    mounts, swaps = list(_mounts(system)), _swaps(system)
    backing = _loop_files(system)
    return [
        _disk(folder, system, mounts, swaps, backing)
        for folder in sorted((system.sys / "block").glob("*"))
        if not folder.name.startswith(_NO_DISKS)
        and int(_text(folder / "size") or 0)
        and _text(folder / "hidden") != "1"  # a controller's path to an NVMe disk that the kernel shows as one
    ]


def normal_wwn(text: str) -> str:
    """A world wide name without its kind, so that the forms of /sys, of /dev/disk and of labels are equal."""
    text = text.strip().lower()
    for kind in ("naa.", "eui.", "uuid.", "t10.", "wwn-", "nvme."):
        text = text.removeprefix(kind)
    return text.removeprefix("0x")


def _disk(
    folder: Path,
    system: System,
    mounts: list[Mount],
    swaps: list[str],
    backing: dict[str, str],
) -> FoundDisk:
    name = folder.name
    parts = [folder, *(entry.parent for entry in folder.glob("*/partition"))]
    numbers = {_text(part / "dev") for part in parts}
    paths = {str(system.dev / part.name) for part in parts}
    own = [mount for mount in mounts if mount.device in numbers or mount.source in paths]
    holders = {holder.name for part in parts for holder in part.glob("holders/*")}
    holders |= {loop for loop, file in backing.items() if file in paths}
    return FoundDisk(
        name=name,
        path=str(system.dev / name.replace("!", "/")),
        size=int(_text(folder / "size")) * SECTOR,
        sector_size=int(_text(folder / "queue" / "logical_block_size") or SECTOR),
        wwn=normal_wwn(_text(folder / "wwid") or _text(folder / "device" / "wwid")),
        serial=_serial(folder),
        model=" ".join(_text(folder / "device" / "model").split()),
        removable=_text(folder / "removable") == "1",
        read_only=_text(folder / "ro") == "1",
        is_loop=(folder / "loop").is_dir(),
        mounts=tuple(sorted({mount.place for mount in own})),
        swaps=tuple(sorted(swap for swap in swaps if swap in paths)),
        holders=tuple(sorted(holders)),
        is_own=any(mount.place in _SYSTEM_MOUNTS for mount in own) or _holds_this_program(numbers),
    )


def _serial(folder: Path) -> str:
    """The serial number as NVMe and virtio disks show it, or from page 0x80 of a SCSI disk's product data."""
    text = _text(folder / "serial") or _text(folder / "device" / "serial")
    if text:
        return text
    try:
        page = (folder / "device" / "vpd_pg80").read_bytes()
    except OSError:
        return ""
    return page[4 : 4 + int.from_bytes(page[2:4], "big")].decode("ascii", "replace").strip("\0 ")


def _mounts(system: System) -> Iterator[Mount]:
    """The mounts of this process and of the first one, which may be in another namespace."""
    for process in ("self", "1"):
        for line in _text(system.proc / process / "mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            fields, behind = left.split(), right.split()
            if len(fields) >= 5 and len(behind) >= 2:
                yield Mount(fields[2], os.path.realpath(_unescaped(behind[1])), _unescaped(fields[4]))


def _swaps(system: System) -> list[str]:
    lines = _text(system.proc / "swaps").splitlines()[1:]
    return [os.path.realpath(_unescaped(line.split()[0])) for line in lines if line.strip()]


def _loop_files(system: System) -> dict[str, str]:
    """The file or device below each loop device, which does not count as its holder."""
    return {file.parents[1].name: _text(file) for file in (system.sys / "block").glob("loop*/loop/backing_file")}


def _holds_this_program(numbers: Iterable[str]) -> bool:
    device = Path(__file__ if Path(__file__).exists() else __file__.partition(".pyz/")[0] + ".pyz")
    try:
        number = device.stat().st_dev
    except OSError:
        return False
    return f"{os.major(number)}:{os.minor(number)}" in numbers


def _unescaped(text: str) -> str:
    r"""A field of /proc, where white space is written as `\040`."""
    for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        text = text.replace(f"\\{code}", character)
    return text


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
