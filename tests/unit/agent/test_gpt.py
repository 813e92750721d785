from __future__ import annotations

import struct
import zlib

import pytest

from phimage.agent.gpt import move_backup, sector_size
from tests.deploying import MIB, gpt_image, mbr_image

SIZE, LARGER = 4 * MIB, 6 * MIB


def moved(image: bytes, sector: int, size: int) -> bytes:
    disk = bytearray(image.ljust(size, b"\0"))
    for change in move_backup(image[:MIB], sector, size, lambda at, n: image[at : at + n]):
        disk[change.offset : change.offset + len(change.data)] = change.data
    return bytes(disk)


def header(disk: bytes, at: int, sector: int) -> tuple[int, ...]:
    raw = disk[at * sector : at * sector + 92]
    fields = struct.unpack("<8sIIIIQQQQ16sQIII", raw)
    assert zlib.crc32(raw[:16] + bytes(4) + raw[20:]) == fields[3]
    entries = disk[fields[10] * sector : fields[10] * sector + fields[11] * fields[12]]
    assert zlib.crc32(entries) == fields[13]
    return fields


@pytest.mark.parametrize("sector", [512, 4096])
def test_both_headers_point_at_each_other_on_the_larger_disk(sector: int) -> None:
    image = gpt_image(SIZE, sector)
    disk = moved(image, sector, LARGER)
    last = LARGER // sector - 1
    primary, backup = header(disk, 1, sector), header(disk, last, sector)
    entry_sectors = 128 * 128 // sector
    assert (primary[5], primary[6], primary[10]) == (1, last, 2)
    assert (backup[5], backup[6], backup[10]) == (last, 1, last - entry_sectors)
    assert primary[8] == backup[8] == last - entry_sectors - 1
    assert primary[9] == backup[9]
    assert struct.unpack_from("<I", disk, 446 + 12)[0] == last
    assert disk[SIZE - sector * (entry_sectors + 1) : SIZE] == bytes(sector * (entry_sectors + 1)), "the old backup is left"


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_sector_size_is_where_the_table_is(sector: int) -> None:
    assert sector_size(gpt_image(SIZE, sector)[:MIB]) == sector
    assert sector_size(mbr_image(SIZE)[:MIB]) == 0


def test_a_disk_of_the_same_size_and_a_damaged_table_stay_as_they_are() -> None:
    image = gpt_image(SIZE)
    assert moved(image, 512, SIZE) == image
    damaged = bytearray(image)
    damaged[512 + 60] ^= 1
    assert move_backup(bytes(damaged[:MIB]), 512, LARGER, lambda at, n: b"") == []
    damaged = bytearray(image)
    damaged[1024] ^= 1
    assert move_backup(bytes(damaged[:MIB]), 512, LARGER, lambda at, n: b"") == []


def test_a_hybrid_mbr_keeps_its_entries() -> None:
    image = bytearray(gpt_image(SIZE))
    image[446 + 16 : 446 + 32] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff" * 3, 2048, 100)
    assert moved(bytes(image), 512, LARGER)[:512] == image[:512]
