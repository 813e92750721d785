"""The disk of a host as a capture reads it: byte for byte, or without what follows its last partition."""

from __future__ import annotations

from collections.abc import Iterator

from phimage.agent.block_device import MIB, BlockDevice
from phimage.agent.errors import DiskFailed, DiskRefused
from phimage.agent.trimmed_table import BadTable, GuidTable, Patch, mbr_end, read_gpt
from phimage.chunk_upload import CHUNK
from phimage.errors import ClientError

_WITHOUT_TRIM = "or capture the disk without --trim"
_GPT_SECTORS = (512, 4096)


class BadSector(ClientError):
    """A sector of a disk cannot be read. `lba` is its number, in the disk's logical sectors."""

    def __init__(self, path: str, lba: int, offset: int) -> None:
        self.lba = lba
        remedy = f"an image would lack its bytes: see `smartctl -a {path}` and dmesg, and replace the disk"
        super().__init__(f"{path}: sector {lba} (LBA, byte {offset}) cannot be read; {remedy}")


class CapturedDisk:
    """A disk that is held and read only, as `chunk_upload.SourceDisk`. Its methods raise BadSector and DiskFailed."""

    def __init__(self, device: BlockDevice, *, trim: bool = False) -> None:
        """With `trim` the disk ends after its last partition; a GPT gets its backup there. Raises DiskRefused and BadSector."""
        self._device = device
        self.size = device.size
        self._patches: list[Patch] = []
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
        for patch in self._patches:
            if patch.offset < offset + len(raw) and offset < patch.offset + len(patch.data):
                raw = _patched(raw, offset, patch)
        return raw

    def check(self) -> None:
        """Does nothing: nobody could mount the disk meanwhile, and a write past all file systems leaves no trace."""

    def _trim(self) -> None:
        try:
            table = self._gpt()
            record = self._read(0, self._device.sector_size)
            end = table.end + table.tail if table is not None else mbr_end(record, self._device.sector_size)
            size = -(-end // MIB) * MIB
            if size >= self.size:  # there is nothing to leave out
                return
            self._patches = table.patches(size, record) if table is not None else []
        except BadTable as bad:
            raise DiskRefused(f"{self._device.path} cannot be trimmed: {bad}, {_WITHOUT_TRIM}") from None
        self.size = size

    def _gpt(self) -> GuidTable | None:
        """The GPT, also one of a file whose sectors are larger than those that it is read by. Raises BadTable."""
        for sector_size in _GPT_SECTORS:
            if sector_size >= self._device.sector_size and (table := read_gpt(self._read, sector_size)) is not None:
                return table
        return None

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


def _patched(raw: bytes, offset: int, patch: Patch) -> bytes:
    first, last = max(offset, patch.offset), min(offset + len(raw), patch.offset + len(patch.data))
    made = bytearray(raw)
    made[first - offset : last - offset] = patch.data[first - patch.offset : last - patch.offset]
    return bytes(made)
