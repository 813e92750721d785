"""One reader of headers for both who look at disks: the server, which describes them, and the agent, which writes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest

from phimage.gpt_header import GptHeader, read_header
from tests.formats import make

SIZE = 4 << 20
PARTS = [(make.ESP, 2048, 4095, "EFI"), (make.LINUX, 4096, 6000, "root")]


def read(disk: bytes, sector: int = 512, place: int = 1) -> GptHeader | None:
    return read_header(lambda at, length: disk[at : at + length], len(disk), sector, place)


@pytest.mark.parametrize("sector", [512, 4096])
def test_both_headers_have_the_same_partitions_and_name_each_other(sector: int) -> None:
    disk = bytes(make.gpt(SIZE, [(type, first // 8, last // 8, name) for type, first, last, name in PARTS], sector=sector))
    primary, backup = read(disk, sector), read(disk, sector, SIZE // sector - 1)

    assert primary is not None
    assert backup is not None
    assert (primary.place, primary.alternate) == (backup.alternate, backup.place) == (1, SIZE // sector - 1)
    assert primary.entries == backup.entries
    assert primary.disk_id == make.DISK_ID.bytes_le
    partitions = {number: (entry.type, entry.first, entry.last) for number, entry in primary.partitions()}
    assert partitions == {1: (make.ESP.bytes_le, 256, 511), 2: (make.LINUX.bytes_le, 512, 750)}


def changed(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    """A header with another field and the checksum of it."""

    def change(disk: bytearray) -> None:
        header = disk[512 : 512 + 92]
        struct.pack_into(form, header, at, value)
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        disk[512 : 512 + 92] = header

    return change


def flipped(at: int) -> Callable[[bytearray], None]:
    def change(disk: bytearray) -> None:
        disk[at] ^= 1

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(flipped(512), id="signature"),
        pytest.param(flipped(512 + 56), id="checksum of the header"),
        pytest.param(flipped(1024), id="checksum of the entries"),
        pytest.param(changed(8, "<I", 0x20000), id="revision"),
        pytest.param(changed(12, "<I", 91), id="length"),
        pytest.param(changed(24, "<Q", 2), id="place"),
        pytest.param(changed(84, "<I", 64), id="size of an entry"),
        pytest.param(changed(84, "<I", 132), id="size of an entry, not a multiple of 8"),
        pytest.param(changed(80, "<I", 0), id="no entries"),
        pytest.param(changed(80, "<I", 0xFFFFFFFF), id="entries without end"),
        pytest.param(changed(72, "<Q", 0xFFFFFFFFFFFFFFFF), id="entries behind the disk"),
    ],
)
def test_a_header_that_is_not_whole_is_none(change: Callable[[bytearray], None]) -> None:
    disk = make.gpt(SIZE, PARTS)
    assert read(bytes(disk)) is not None
    change(disk)
    assert read(bytes(disk)) is None


@pytest.mark.parametrize("place", [0, SIZE // 512, 1 << 63])
def test_there_is_none_outside_of_the_disk(place: int) -> None:
    assert read(bytes(make.gpt(SIZE, PARTS)), place=place) is None
