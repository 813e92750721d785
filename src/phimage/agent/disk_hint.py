"""Hints: how an order or a person names a disk. Exactly one disk must match."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from phimage.agent.disks import SECTOR, FoundDisk, normal_wwn
from phimage.agent.errors import DiskRefused

FORMS = "wwn:NAME, serial:NUMBER, path:/dev/..., or a range of sizes such as size:400G-500G"

_UNITS = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}
_SIZE = re.compile(r"([0-9]+)([kmgt]?i?)b?")


def choose_disk(disks: list[FoundDisk], hint: str) -> FoundDisk:
    """The disk that a hint names. A path alone is taken for `path:`. Raises DiskRefused unless exactly one disk matches.

    A regular file counts as a disk when its path is named. Loop devices match by their path alone: a rescue system may run from
    one.
    """
    kind, colon, value = hint.partition(":")
    if hint.startswith(("/", "./")):
        kind, colon, value = "path", ":", hint
    if not colon or not value.strip() or kind not in ("wwn", "serial", "path", "size"):
        raise DiskRefused(f"{hint!r} names no disk; expected {FORMS}")
    if kind == "path":
        return _by_path(disks, value)
    matching = [disk for disk in disks if not disk.is_loop and _matches(disk, kind, value)]
    if not matching:
        raise DiskRefused(f"no disk of this machine matches {hint}: {_listed(disks)}; correct the hint")
    if len(matching) > 1:
        raise DiskRefused(f"{len(matching)} disks match {hint}: {_listed(matching)}; use a hint that only one of them matches")
    return matching[0]


def size_range(value: str) -> tuple[int, int]:
    """The smallest and the largest size in bytes of `400G-500G`; either may be omitted. Raises DiskRefused."""
    low, dash, high = value.partition("-")
    if not dash or not (low.strip() or high.strip()):
        raise DiskRefused(f"size:{value} is not a range of sizes; expected one such as size:400G-500G")
    return _bytes(low) if low.strip() else 0, _bytes(high) if high.strip() else 1 << 63


def _matches(disk: FoundDisk, kind: str, value: str) -> bool:
    if kind == "wwn":
        return bool(disk.wwn) and disk.wwn == normal_wwn(value)
    if kind == "serial":
        return bool(disk.serial) and disk.serial == value.strip()
    low, high = size_range(value)
    return low <= disk.size <= high


def _by_path(disks: list[FoundDisk], path: str) -> FoundDisk:
    real = os.path.realpath(path)
    for disk in disks:
        if disk.path == real:
            return replace(disk, path=real)
        if real in {f"{disk.path}{number}" for number in range(1, 129)} | {f"{disk.path}p{number}" for number in range(1, 129)}:
            raise DiskRefused(f"{path} is a partition of {disk.path}; an image is a whole disk: name the disk")
    file = Path(real)
    if file.is_file():
        size = file.stat().st_size
        return FoundDisk(file.name, real, size, SECTOR, is_loop=True, read_only=not os.access(real, os.W_OK))
    raise DiskRefused(f"there is no disk {path}: {_listed(disks)}; correct the path")


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise DiskRefused(
            f"{text.strip()!r} is not a size; expected a number of bytes, or one with a unit such as 480G or 447Gi"
        )
    return int(match[1]) * _UNITS[match[2]]


def _listed(disks: list[FoundDisk]) -> str:
    texts = [f"{disk.path} ({disk.identity}, {disk.size / 1e9:.1f} GB)" for disk in disks if not disk.is_loop]
    return "it has " + ", ".join(texts) if texts else "it has none"
