"""Turns any bytes into a file that is nearly a disk image, and examines it in every way that phimage does.

The bytes choose an image of the corpus and what is changed in it: where, by what, how much is cut off. Checksums are made
right again, so that what they guard is reached. So hypothesis, atheris and a file of an earlier finding all speak one language.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Final

import msgspec

from phimage.formats.disk import describe
from phimage.formats.examine import Examination, examine, examine_disk, examine_head
from phimage.formats.reader import ReaderAt
from phimage.formats.table import KINDS
from phimage.formats.vhdx import crc32c
from tests.formats.cases import CASES
from tests.formats.make import KIB, MIB

RECORD: Final = 8
MAX_CHANGES: Final = 12
VALUES: Final = (0, 1, 7, 0x7F, 0xFF, 0x200, 0x1000, 0xFFFF, 0x10000, *(1 << bits for bits in (31, 40, 62, 63)), (1 << 32) - 1)


class Mutated:
    """An image with changes, without a copy: whatever its size, it costs next to nothing."""

    def __init__(self, image: bytes, size: int) -> None:
        self._image = image
        self._changes: list[tuple[int, bytes]] = []
        self.size = size

    def change(self, place: int, new: bytes) -> None:
        """Replace some bytes. The last change wins."""
        self._changes.append((place, new))

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        data = bytearray(self._image[offset : offset + length].ljust(length, b"\0"))
        for place, new in self._changes:
            start, end = max(place, offset), min(place + len(new), offset + length)
            if start < end:
                data[start - offset : end - offset] = new[start - place : end - place]
        return bytes(data)


class Memory:
    """The bytes themselves as a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        return self._data[offset : offset + length]


@cache
def images() -> tuple[bytes, ...]:
    """The accepted images of the corpus, and a few refused ones."""
    wanted = [
        case for case in CASES if not case.refused or case.name in ("qcow2, backing file", "vmdk, parent by name", "luks 1")
    ]
    return tuple(case.image() for case in wanted if case.name != "raw, noise")


@cache
def sectors(number: int) -> tuple[int, ...]:
    """Where an image has something."""
    image = images()[number]
    return tuple(place for place in range(0, len(image), 512) if place == 0 or image[place : place + 512].strip(b"\0"))


def mutate(data: bytes) -> ReaderAt:
    """The file that some bytes encode."""
    if len(data) < 2 or data[0] == 0xFF:
        return Memory(data[1:])
    number = data[0] % len(images())
    image, used = images()[number], sectors(number)
    size = len(image)
    if data[1] & 0x80:
        size = size * (data[1] & 0x7F) // 0x70 // 256 * 256
    mutated = Mutated(image, size)
    for start in range(2, min(len(data), 2 + RECORD * MAX_CHANGES) - RECORD + 1, RECORD):
        how, sector, place, value = struct.unpack(">BBHI", data[start : start + RECORD])
        where = used[(sector * len(used)) >> 8] + place % 512
        mutated.change(where, _value(how, value))
    if not data[1] & 1:
        _repair(mutated)
    return mutated


def _value(how: int, value: int) -> bytes:
    number = VALUES[value % len(VALUES)] if how & 1 else value
    layout = (">B", ">H", ">I", ">Q", "<H", "<I", "<Q")[(how >> 1) % 7]
    length = struct.calcsize(layout)
    return struct.pack(layout, number & (1 << 8 * length) - 1)


def _repair(image: Mutated) -> None:
    head = image.read_at(0, 512)
    if head.startswith(b"conectix"):
        footer = _summed(head, 64)
        image.change(0, footer)
        image.change(image.size - 512, footer)
        place = struct.unpack_from(">Q", footer, 16)[0]
        image.change(place, _summed(image.read_at(place, 1024).ljust(1024, b"\0"), 36))
    elif image.read_at(image.size - 512, 8) == b"conectix":
        image.change(image.size - 512, _summed(image.read_at(image.size - 512, 512), 64))
    elif head.startswith(b"vhdxfile"):
        for place, length in ((64 * KIB, 4096), (128 * KIB, 4096)):
            image.change(place, _crc32c(image.read_at(place, length).ljust(length, b"\0")))
        table = image.read_at(192 * KIB, 64 * KIB).ljust(64 * KIB, b"\0")
        if struct.unpack_from("<I", table, 4)[0] != 0:
            table = _crc32c(table)
            image.change(192 * KIB, table)
            image.change(256 * KIB, table)
    else:
        _repair_gpt(image)


def _repair_gpt(image: Mutated) -> None:
    for place in (512, 4096, image.size // 512 * 512 - 512):
        header = bytearray(image.read_at(place, 92))
        if len(header) < 92 or not header.startswith(b"EFI PART"):
            continue
        sector = 4096 if place == 4096 else 512
        at, count, size = struct.unpack_from("<QII", header, 72)
        if count * size <= MIB:
            struct.pack_into("<I", header, 88, zlib.crc32(image.read_at(at * sector, count * size)))
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        image.change(place, bytes(header))


def _summed(data: bytes, place: int) -> bytes:
    plain = data[:place] + bytes(4) + data[place + 4 :]
    return data[:place] + struct.pack(">I", ~sum(plain) & 0xFFFFFFFF) + data[place + 4 :]


@cache
def _crc32c(data: bytes) -> bytes:
    plain = data[:4] + bytes(4) + data[8:]
    return data[:4] + struct.pack("<I", crc32c(plain)) + data[8:]


def look(file: ReaderAt) -> Examination:
    """Examine a file in every way. Nothing is raised for any file, and every result can be written as JSON."""
    found = examine(file)
    for examination in (
        found,
        examine_head(file.read_at(0, MIB), file.size),
        examine_head(file.read_at(0, 40 * KIB), None),
        examine_disk(file),
    ):
        msgspec.json.encode(examination)
        assert all(finding.id in KINDS and finding.text and finding.text.isprintable() for finding in examination.findings)
        assert examination.virtual_size is None or examination.virtual_size >= 0
    msgspec.json.encode(describe(file))
    return found
