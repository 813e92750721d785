"""The disk that a hint names. Exactly one disk must match."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from phimage.agent.block_device import BlockDevice
from phimage.agent.disks import SECTOR, FoundDisk, normal_wwn
from phimage.agent.errors import DiskRefused
from phimage.agent.refusals import twins_of
from phimage.disk_hint import DiskHint, read_hint


def choose_disk(disks: list[FoundDisk], hint: str) -> FoundDisk:
    """The disk that a hint names. A path alone is taken for `path:`. Raises DiskRefused unless exactly one disk matches.

    A regular file counts as a disk when its path is named. Loop devices match by their path alone: a rescue system may run from
    one.
    """
    try:
        read = DiskHint("path", hint) if hint.startswith(("/", "./")) else read_hint(hint)
    except ValueError as error:
        raise DiskRefused(str(error)) from None
    if read.kind == "path":
        return _by_path(disks, read.value)
    matching = [disk for disk in disks if not disk.is_loop and _matches(disk, read)]
    if not matching:
        raise DiskRefused(f"no disk of this machine matches {hint}: {_listed(disks)}; correct the hint")
    if len(matching) > 1:
        raise DiskRefused(f"{len(matching)} disks match {hint}: {_listed(matching)}; use a hint that only one of them matches")
    return matching[0]


def open_disk(disk: FoundDisk, look: Callable[[], list[FoundDisk]], *, writable: bool) -> BlockDevice:
    """Open a chosen disk, and look again whether its path still is that disk. Raises DiskRefused.

    A person confirms, or an order waits for its server, between the choice and this: a disk may go and another one get its
    name. The kernel gives a name to no other disk while it is open.
    """
    device = BlockDevice(disk.path, writable=writable, sector_size=disk.sector_size)
    name = f"{disk.path} ({disk.identity})"
    try:
        disks = look()
        found = next((other for other in disks if other.path == disk.path), None)
        if found is None and not disk.is_loop:
            raise DiskRefused(f"{name} is not there any more: start again")
        if found is not None and _who(found) != _who(disk):
            raise DiskRefused(f"{disk.path} is another disk than a moment ago, {found.identity}: start again")
        if twins := twins_of(disk, disks):
            raise DiskRefused(f"{name}: {twins}")
        if device.size != disk.size:
            raise DiskRefused(f"{disk.path} has another size than a moment ago: start again")
    except BaseException:
        device.close()
        raise
    return device


def _who(disk: FoundDisk) -> tuple[str, str, str]:
    return disk.wwn, disk.serial, disk.model


def _matches(disk: FoundDisk, hint: DiskHint) -> bool:
    if hint.kind == "wwn":
        return bool(disk.wwn) and disk.wwn == normal_wwn(hint.value)
    if hint.kind == "serial":
        return bool(disk.serial) and disk.serial == hint.value
    return hint.min_size <= disk.size <= hint.max_size


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


def _listed(disks: list[FoundDisk]) -> str:
    texts = [f"{disk.path} ({disk.identity}, {disk.size / 1e9:.1f} GB)" for disk in disks if not disk.is_loop]
    return "it has " + ", ".join(texts) if texts else "it has none"
