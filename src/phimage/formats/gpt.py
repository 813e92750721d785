"""The GUID partition table, primary and backup, with sectors of 512 and of 4096 bytes."""

from __future__ import annotations

from itertools import islice
from typing import Final
from uuid import UUID

from msgspec import Struct

from phimage.formats.partition import Partition, Remark
from phimage.formats.reader import ReaderAt
from phimage.gpt_header import SECTOR_SIZES, SIGNATURE, GptHeader, read_header

MAX_PARTITIONS: Final = 256
LEGACY_BOOT: Final = 1 << 2


class Gpt(Struct, frozen=True):
    """The content of a GPT, and findings about it."""

    sector_size: int
    id: str
    partitions: tuple[Partition, ...]
    remarks: tuple[Remark, ...]


def read(reader: ReaderAt, *, protected: bool) -> Gpt | None:
    """Read the GPT of a disk. With `protected`, an announced GPT may be read from its backup alone."""
    for sector in SECTOR_SIZES:
        signed = reader.read_at(sector, len(SIGNATURE)) == SIGNATURE
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
        return Gpt(sector, _uuid(header.disk_id), _partitions(header, sector), tuple(remarks))
    return None


def _header(reader: ReaderAt, sector: int, place: int) -> GptHeader | None:
    return read_header(reader.read_at, reader.size, sector, place)


def _partitions(header: GptHeader, sector: int) -> tuple[Partition, ...]:
    return tuple(
        Partition(
            number,
            entry.first * sector,
            (entry.last - entry.first + 1) * sector,
            _uuid(entry.type),
            _text(entry.name),
            _uuid(entry.id),
            bool(entry.flags & LEGACY_BOOT),
        )
        for number, entry in islice(header.partitions(), MAX_PARTITIONS)
    )


def _uuid(id: bytes) -> str:
    return str(UUID(bytes_le=id))


def _text(name: bytes) -> str:
    text = name.decode("utf-16-le", "replace").split("\0", 1)[0]
    return "".join(letter for letter in text if letter.isprintable())
