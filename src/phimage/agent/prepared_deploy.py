"""A deployment from its checks to its receipt, alike for an order and for a person in a rescue shell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from phimage import __version__
from phimage.agent.block_device import BlockDevice
from phimage.agent.crew import Crew
from phimage.agent.deploy import Deployment, OnPhase, WrittenDisk
from phimage.agent.disk_choice import open_disk
from phimage.agent.disks import FoundDisk, find_disks
from phimage.agent.errors import printable
from phimage.agent.gpt import TableChange, move_backup, sector_size
from phimage.agent.image_chunks import ImageChunks
from phimage.agent.image_source import ServedImage
from phimage.agent.refusals import refuse_busy, refuse_unfit
from phimage.agent.write_plan import MIB, WritePlan


@dataclass(frozen=True)
class PreparedDeploy:
    """An image and a disk that fit. Nothing is written yet."""

    disk: FoundDisk
    source: ServedImage
    chunks: ImageChunks
    changes: Sequence[TableChange]
    """What the disk gets in place of the image's bytes."""

    def check_exclusive(self) -> None:
        """Open the disk as `run` does, and close it. Raises DiskRefused."""
        BlockDevice(self.disk.path, writable=True, sector_size=self.disk.sector_size).close()

    def run(
        self,
        crew: Crew,
        *,
        read_back: bool = True,
        permit: Callable[[], object] = lambda: None,
        on_phase: OnPhase = lambda phase, done, total: None,
        clock: Callable[[], float] = time.time,
        look: Callable[[], list[FoundDisk]] = find_disks,
    ) -> dict[str, Any]:
        """Write the image, and return the receipt. Raises DiskRefused, DiskFailed, ImageUnavailable, and what `permit` and
        `on_phase` raise. Until it returns, nothing on the disk can boot. `look` finds the disks of this machine.
        """

        def allow() -> None:
            crew.check()
            permit()

        started = clock()
        with open_disk(self.disk, look, writable=True) as device:
            plan = WritePlan(self.chunks, device.size, device.sector_size, self.changes)
            deployment = Deployment(device, self.source, plan, crew, read_back=read_back, permit=allow, on_phase=on_phase)
            written = deployment.run()
            warning = device.reread_partition_table()
        return self._receipt(written, started, clock(), warning)

    def _receipt(self, written: WrittenDisk, started: float, ended: float, warning: str) -> dict[str, Any]:
        receipt: dict[str, Any] = {
            "AgentVersion": __version__,
            "ManifestDigest": self.chunks.manifest,
            "ImageSize": self.chunks.size,
            "Disk": disk_identity(self.disk),
            "BytesWritten": written.written,
            "BytesZeroed": written.zeroed,
            "BytesReadBack": written.read_back,
            "BytesFetched": written.fetched,
            "BytesReused": written.reused,
            "ChangedSectors": [list(sectors) for sectors in written.changed_sectors],
            "Started": int(started),
            "Ended": int(ended),
        }
        if warning:
            receipt["Warning"] = f"the kernel did not read the partition table again: {warning}"
        return receipt


def prepare(
    disk: FoundDisk, disks: Sequence[FoundDisk], source: ServedImage, digest: str, *, stated_sector: int = 0
) -> PreparedDeploy:
    """Check a disk and an image against each other. `digest` is the manifest's; an empty text accepts any.

    Raises DiskRefused, ImageMismatch and ImageUnavailable.
    """
    refuse_busy(disk, disks)
    chunks = source.chunks(digest)

    def read(offset: int, length: int) -> bytes:
        return read_image(source, chunks, offset, length)

    head = read(0, MIB)
    sector = sector_size(head)
    refuse_unfit(disk, chunks.size, sector, stated_sector)
    changes = move_backup(head, sector, disk.size, read) if sector else []
    return PreparedDeploy(disk, source, chunks, changes)


def read_image(source: ServedImage, chunks: ImageChunks, offset: int, length: int) -> bytes:
    """Some bytes of an image, verified; fewer where it ends."""
    length = max(0, min(length, chunks.size - offset))
    found = bytearray(length)
    for place in chunks.places(offset, length):
        for _, raw in source.read(chunks, range(place, place + 1)):
            start = chunks.offset(place)
            begin, end = max(start, offset), min(start + len(raw), offset + length)
            found[begin - offset : end - offset] = raw[begin - start : end - start]
    return bytes(found)


def disk_identity(disk: FoundDisk) -> dict[str, Any]:
    """How the agent names a disk to a server, which takes no control characters."""
    return {
        "Path": printable(disk.path),
        "Wwn": printable(disk.wwn),
        "Serial": printable(disk.serial),
        "Size": disk.size,
        "SectorSize": disk.sector_size,
    }
