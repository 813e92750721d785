"""The disk of a host as a capture reads it: byte for byte, or without what follows its last partition."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from phimage.agent.block_device import MIB, BlockDevice
from phimage.agent.errors import DiskFailed, DiskRefused
from phimage.agent.gpt import TableChange, move_backup, sector_size, smallest_size
from phimage.chunk_upload import CHUNK
from phimage.errors import ClientError

_MBR_ENTRY = struct.Struct("<4xB3xII")
_MBR_ENTRIES = range(446, 510, _MBR_ENTRY.size)


class BadSector(ClientError):
    """A sector of a disk cannot be read. `lba` is its number, in the disk's logical sectors."""

    def __init__(self, path: str, lba: int, offset: int) -> None:
        self.lba = lba
        remedy = f"an image would lack its bytes: see `smartctl -a {path}` and dmesg, and replace the disk"
        super().__init__(f"{path}: sector {lba} (LBA, byte {offset}) cannot be read; {remedy}")


# docs/decisions.md#a-capture-is-the-disk-byte-for-byte
class CapturedDisk:
    """A disk that is held and read only, as `chunk_upload.SourceDisk`. Its methods raise BadSector and DiskFailed."""

    def __init__(self, device: BlockDevice, *, trim: bool = False) -> None:
        """With `trim` the disk ends after its last partition; a GPT gets its backup there. Raises DiskRefused and BadSector."""
        self._device = device
        self.size = device.size
        self._changes: list[TableChange] = []
        if device.size % device.sector_size or not device.size:
            raise DiskRefused(f"{device.path} has {device.size} bytes, which are no whole sectors; pad it with zeros")
        if trim:
            self._trim()

    def data(self) -> Iterator[int]:
        """The indices of all chunks: a device does not say where it has zeros."""
        return iter(range(-(-self.size // CHUNK)))

    def read(self, index: int) -> bytes:
        """A chunk."""
        offset = index * CHUNK
        raw = self._read(offset, min(CHUNK, self.size - offset))
        for change in self._changes:
            if change.offset < offset + len(raw) and offset < change.offset + len(change.data):
                raw = _changed(raw, offset, change)
        return raw

    def check(self) -> None:
        """Does nothing: nobody could mount the disk meanwhile, and a write past all file systems leaves no trace."""

    def _trim(self) -> None:
        """End after the last partition. Raises DiskRefused and BadSector."""
        head = self._read(0, min(MIB, self.size))
        sector = sector_size(head)
        end = smallest_size(head, sector) if sector else _mbr_end(head, self._device.sector_size)
        if not end:
            what = "its GPT is damaged; repair it with `gdisk` (r, b, w)" if end is None else "it has no partitions"
            raise DiskRefused(f"{self._device.path} cannot be trimmed: {what}, or capture it without --trim")
        size = -(-end // MIB) * MIB
        if size < self.size:
            self._changes = move_backup(head, sector, size, self._read_up_to) if sector else []
            self.size = size

    def _read_up_to(self, offset: int, length: int) -> bytes:
        """Bytes of the device, fewer at its end."""
        return self._read(offset, min(length, self._device.size - offset)) if offset < self._device.size else b""

    def _read(self, offset: int, length: int) -> bytes:
        """Bytes of the device. What cannot be read at once is read again sector by sector."""
        try:
            return self._device.read(offset, length)
        except DiskFailed:
            return b"".join(self._read_sector(at) for at in range(offset, offset + length, self._device.sector_size))

    def _read_sector(self, offset: int) -> bytes:
        try:
            return self._device.read(offset, self._device.sector_size)
        except DiskFailed:
            raise BadSector(self._device.path, offset // self._device.sector_size, offset) from None


def _changed(raw: bytes, offset: int, change: TableChange) -> bytes:
    first, last = max(offset, change.offset), min(offset + len(raw), change.offset + len(change.data))
    made = bytearray(raw)
    made[first - offset : last - offset] = change.data[first - change.offset : last - change.offset]
    return bytes(made)


def _mbr_end(head: bytes, sector: int) -> int:
    """The first byte after the last partition of an MBR; 0 if there is none."""
    if head[510:512] != b"\x55\xaa":
        return 0
    entries = [_MBR_ENTRY.unpack_from(head, place) for place in _MBR_ENTRIES]
    return max(((first + count) * sector for kind, first, count in entries if kind and count), default=0)
