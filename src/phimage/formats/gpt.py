"""The GUID partition table (UEFI 2.10, 5.3), primary and backup, with sectors of 512 and of 4096 bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Final
from uuid import UUID

from msgspec import Struct

from phimage.formats.limits import MIB
from phimage.formats.partition import Partition, Remark
from phimage.formats.reader import ReaderAt

SECTORS: Final = (512, 4096)
SIGNATURE: Final = b"EFI PART"
LAYOUT: Final = "<8sIIIIQQQQ16sQIII"
MAX_PARTITIONS: Final = 256
LEGACY_BOOT: Final = 1 << 2


class GptHeader(Struct, frozen=True):
    """A header with valid checksums, and its entries. Places are in sectors."""

    place: int
    alternate: int
    last_usable: int
    id: str
    entry_size: int
    entries: bytes


class Gpt(Struct, frozen=True):
    """The content of a GPT, and findings about it."""

    sector_size: int
    id: str
    partitions: tuple[Partition, ...]
    remarks: tuple[Remark, ...]


def read(reader: ReaderAt, *, protected: bool) -> Gpt | None:
    """Read the GPT of a disk. With `protected`, an announced GPT may be read from its backup alone."""
    for sector in SECTORS:
        signed = reader.read_at(sector, 8) == SIGNATURE
        if not signed and not protected:
            continue
        last = reader.size // sector - 1
        primary = _header(reader, sector, 1) if signed else None
        backup = _header(reader, sector, primary.alternate if primary else last)
        if primary is None and backup is None:
            continue
        remarks: list[Remark] = []
        if primary is None:
            remarks.append(("gpt.primary-damaged", "the checksum of the header or of its entries is wrong"))
        elif backup is None or backup.entries != primary.entries:
            remarks.append(("gpt.backup-damaged", f"there is no valid copy at sector {primary.alternate}"))
        elif primary.alternate != last:
            remarks.append(("gpt.backup-elsewhere", f"it is at sector {primary.alternate}; the last sector is {last}"))
        header = primary or backup
        assert header is not None
        return Gpt(sector, header.id, _partitions(header, sector), tuple(remarks))
    return None


def _header(reader: ReaderAt, sector: int, place: int) -> GptHeader | None:
    data = reader.read_at(place * sector, sector) if 0 < place < reader.size // sector else b""
    if len(data) < sector or not data.startswith(SIGNATURE):
        return None
    fields = struct.unpack_from(LAYOUT, data)
    _signature, revision, length, checksum, _reserved, own, alternate, _first, last, identity = fields[:10]
    entries_at, count, size, entries_checksum = fields[10:]
    if revision >> 16 != 1 or not 92 <= length <= sector or own != place:
        return None
    if zlib.crc32(data[:16] + bytes(4) + data[20:length]) != checksum:
        return None
    if size < 128 or size % 8 or not 0 < count * size <= MIB or entries_at * sector > reader.size:
        return None
    entries = reader.read_at(entries_at * sector, count * size)
    if len(entries) != count * size or zlib.crc32(entries) != entries_checksum:
        return None
    return GptHeader(place, alternate, last, str(UUID(bytes_le=identity)), size, entries)


def _partitions(header: GptHeader, sector: int) -> tuple[Partition, ...]:
    partitions: list[Partition] = []
    for index, offset in enumerate(range(0, len(header.entries), header.entry_size)):
        type, unique, first, last, flags, name = struct.unpack_from("<16s16sQQQ72s", header.entries, offset)
        if not type.strip(b"\0") or last < first:
            continue
        partitions.append(
            Partition(
                index + 1,
                first * sector,
                (last - first + 1) * sector,
                str(UUID(bytes_le=type)),
                _text(name),
                str(UUID(bytes_le=unique)),
                bool(flags & LEGACY_BOOT),
            )
        )
        if len(partitions) == MAX_PARTITIONS:
            break
    return tuple(partitions)


def _text(name: bytes) -> str:
    text = name.decode("utf-16-le", "replace").split("\0", 1)[0]
    return "".join(letter for letter in text if letter.isprintable())
