"""The rules that keep the agent from writing to a wrong disk. Each refuses before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from phimage.agent.disks import FoundDisk
from phimage.agent.errors import DiskRefused
from phimage.agent.write_plan import MIN_DISK


def busy_reason(disk: FoundDisk, disks: Sequence[FoundDisk]) -> str:
    """Why a disk cannot be written, whatever the image is, with the remedy; an empty text if it can."""
    if disk.is_own:
        return "this system runs from it; boot a rescue system"
    if disk.mounts:
        return f"it is mounted on {', '.join(disk.mounts)}; unmount it"
    if disk.swaps:
        return f"it holds swap space; run swapoff {' '.join(disk.swaps)}"
    if disk.holders:
        return f"{', '.join(disk.holders)} is made of it; stop that RAID, volume group or mapping first"
    if twins := twins_of(disk, disks):
        return twins
    if disk.removable:
        return "it is removable, such as the stick that a rescue system starts from; name a fixed disk"
    if disk.read_only:
        return f"it is read-only; its switch, or blockdev --setrw {disk.path}, makes it writable"
    return ""


def twins_of(disk: FoundDisk, disks: Sequence[FoundDisk]) -> str:
    """Which other paths lead to a disk, with the remedy; an empty text for none."""
    twins = [other.path for other in disks if other.wwn and other.wwn == disk.wwn and other.path != disk.path]
    return f"{', '.join(twins)} is another path to the same disk; disconnect all paths but one" if twins else ""


def refuse_busy(disk: FoundDisk, disks: Sequence[FoundDisk]) -> None:
    """Raises DiskRefused unless a disk can be written."""
    if reason := busy_reason(disk, disks):
        raise DiskRefused(f"{disk.path} ({disk.identity}): {reason}")


def refuse_unfit(disk: FoundDisk, image_size: int, image_sector: int, stated_sector: int) -> None:
    """Raises DiskRefused unless an image fits on a disk.

    `image_sector` is the sector size that the image's partition table is made for, 0 if it does not say; `stated_sector` is
    what a person or an order says, 0 for nothing.
    """
    name = f"{disk.path} ({disk.identity})"
    if image_sector and stated_sector and image_sector != stated_sector:
        raise DiskRefused(f"the image is for sectors of {image_sector} bytes, not {stated_sector}: leave --sector-size out")
    sector = image_sector or stated_sector
    if not sector:
        raise DiskRefused(
            "the image has no GPT, so it does not say for which sector size it was made; nearly all are made for 512: "
            "use --sector-size 512"
        )
    if sector != disk.sector_size:
        raise DiskRefused(
            f"{name} has sectors of {disk.sector_size} bytes and the image is for {sector}: it cannot boot; use an image for "
            f"{disk.sector_size}, or let the disk's own tool format it to {sector}"
        )
    if disk.size % disk.sector_size:  # only a file in the place of a disk
        raise DiskRefused(f"{name} has {disk.size} bytes, which are no whole sectors of {disk.sector_size}: lengthen the file")
    if disk.size < max(image_size, MIN_DISK):
        raise DiskRefused(f"{name} has {disk.size} bytes, the image needs {max(image_size, MIN_DISK)}; use a larger disk")
