"""Valid and damaged partition tables."""

from __future__ import annotations

import pytest

from phimage.formats import partitions
from phimage.formats.disk import boot_platforms, describe
from phimage.formats.reader import BytesReader
from tests.formats import make
from tests.formats.make import MIB
from tests.formats.real_disk import fat

SIZE = 4 * MIB


def table(image: bytes | bytearray) -> partitions.PartitionTable:
    return partitions.read(BytesReader(image))


def remarks(image: bytes | bytearray) -> list[str]:
    return [id for id, _text in table(image).remarks]


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_gpt_is_read_with_both_sizes_of_sectors(sector: int) -> None:
    found = table(make.gpt(SIZE, [(make.ESP, 64, 79, "EFI"), (make.LINUX, 80, 99, "Wurzel ß")], sector=sector))
    assert (found.scheme, found.sector_size, found.remarks) == ("gpt", sector, ())
    assert [(part.start, part.size, part.name) for part in found.partitions] == [
        (64 * sector, 16 * sector, "EFI"),
        (80 * sector, 20 * sector, "Wurzel ß"),
    ]


def test_an_mbr_beside_a_gpt_is_noted_and_the_gpt_counts() -> None:
    found = table(make.gpt(SIZE, [(make.LINUX, 2048, 4095, "")], mixed=[(0x80, 0x83, 2048, 2048)]))
    assert (found.scheme, found.hybrid, found.active) == ("gpt", True, True)
    assert [id for id, _text in found.remarks] == ["gpt.hybrid"]


def test_a_gpt_that_the_mbr_does_not_protect_does_not_count() -> None:
    image = make.gpt(SIZE, [(make.LINUX, 2048, 4095, "")])
    image[:512] = make.mbr((0x80, 0x83, 64, 128))
    found = table(image)
    assert (found.scheme, found.hybrid) == ("mbr", True)
    assert [part.start for part in found.partitions] == [64 * 512]


def test_a_gpt_without_any_mbr_counts() -> None:
    image = make.gpt(SIZE, [(make.LINUX, 2048, 4095, "")])
    image[:512] = bytes(512)
    assert table(image).scheme == "gpt"


def test_partitions_behind_the_end_and_over_each_other_are_told() -> None:
    assert remarks(make.gpt(SIZE, [(make.LINUX, 2048, 99999, "")])) == ["disk.truncated"]
    assert remarks(make.gpt(SIZE, [(make.LINUX, 2048, 4095, ""), (make.LINUX, 4000, 5000, "")])) == ["disk.overlap"]
    assert remarks(make.mbr((0, 0x83, 2048, 1 << 20)).ljust(SIZE, b"\0")) == ["disk.truncated"]


def test_logical_partitions_that_go_round_in_a_circle_end() -> None:
    image = bytearray(SIZE)
    image[:512] = make.mbr((0, 5, 100, 1000))
    for place, following in ((100, 50), (150, 0)):
        image[place * 512 : place * 512 + 512] = make.mbr((0, 0x83, 1, 10), (0, 5, following, 100))
    assert [part.start // 512 for part in table(image).partitions] == [100, 101, 151]


@pytest.mark.parametrize("name", [b"NTFS    ", b"EXFAT   "])
def test_a_boot_sector_of_a_file_system_is_no_partition_table(name: bytes) -> None:
    sector = bytearray(make.mbr((0x80, 0x83, 1, 1)))
    sector[3:11] = name
    assert table(bytes(sector).ljust(SIZE, b"\0")).scheme == ""
    assert table(fat().ljust(SIZE, b"\0")).scheme == ""


def test_an_entry_with_an_impossible_flag_makes_the_table_unusual() -> None:
    found = table(make.mbr((0x41, 0x83, 1, 1)).ljust(SIZE, b"\0"))
    assert found.partitions == ()
    assert [id for id, _text in found.remarks] == ["mbr.unusual"]


@pytest.mark.parametrize(
    ("platforms", "modes"),
    [([], ()), ([0], ("bios",)), ([0xEF], ("uefi",)), ([0, 0xEF], ("bios", "uefi")), ([2, 0xEF, 0], ("bios", "uefi"))],
)
def test_the_boot_catalogue_of_a_disc_says_for_whom_it_is(platforms: list[int], modes: tuple[str, ...]) -> None:
    image = make.iso(boot=platforms)
    assert boot_platforms(BytesReader(image)) == frozenset(platforms)
    found = describe(BytesReader(image))
    assert found.boot == modes
    assert found.filesystem is not None
    assert (found.filesystem.kind, found.filesystem.label) == ("iso9660", "PHIMAGE_TEST")
    assert found.filesystem.uuid == "2026-11-23-10-20-30-00"


def test_a_hybrid_disc_is_described_as_both() -> None:
    area = make.mbr((0x80, 0x17, 0, 2400), (0, 0xEF, 100, 200), code=b"\xeb\x3cisolinux")
    image = bytearray(make.iso(system_area=area, boot=[0, 0xEF]))
    image[100 * 512 : 101 * 512] = fat()
    found = describe(BytesReader(image))
    assert (found.table, found.boot) == ("mbr", ("bios", "uefi"))
    assert found.filesystem is not None
    assert [slot.filesystem.kind if slot.filesystem else "" for slot in found.partitions] == ["iso9660", "vfat"]


@pytest.mark.parametrize(
    ("code", "flags", "parts", "modes"),
    [
        (b"", 0, [(make.BIOS_BOOT, 34, 63, "")], ()),
        (b"code", 0, [(make.BIOS_BOOT, 34, 63, "")], ("bios",)),
        (b"code", 0, [(make.LINUX, 34, 63, "")], ()),
        (b"code", 4, [(make.LINUX, 34, 63, "")], ("bios",)),
        (b"GRUB ", 0, [(make.LINUX, 34, 63, "")], ("bios",)),
        (b"", 0, [(make.ESP, 34, 63, "")], ()),
    ],
)
def test_a_bios_needs_code_and_something_to_go_on_with(
    code: bytes, flags: int, parts: list[tuple[object, int, int, str]], modes: tuple[str, ...]
) -> None:
    image = make.gpt(SIZE, parts, code=code, flags=flags)  # type: ignore[arg-type]
    assert describe(BytesReader(image)).boot == modes
