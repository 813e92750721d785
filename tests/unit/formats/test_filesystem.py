"""File systems by their superblocks; those that no tool here can make are laid out by their documentation."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from phimage.formats.filesystem import recognise
from phimage.formats.reader import BytesReader
from phimage.model.image_bytes import FilesystemFacts
from tests.formats import make
from tests.formats.make import MIB
from tests.formats.real_disk import fat

ID = UUID("01234567-89ab-cdef-0123-456789abcdef")
TEXT = str(ID)


def at(*parts: tuple[int, bytes]) -> bytes:
    return make.patched(bytes(MIB), *parts)


LVM = "abcdefGHIJKLmnopQRSTuvwxYZ012345"


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (at((0, b"XFSB"), (32, ID.bytes), (108, b"data")), FilesystemFacts("xfs", "data", TEXT)),
        (
            at((65536 + 64, b"_BHRfS_M"), (65536 + 32, ID.bytes), (65536 + 299, b"fedora")),
            FilesystemFacts("btrfs", "fedora", TEXT),
        ),
        (at((3, b"NTFS    "), (72, bytes(range(1, 9))), (510, b"\x55\xaa")), FilesystemFacts("ntfs", "", "0807060504030201")),
        (at((3, b"EXFAT   "), (100, b"\1\2\3\4"), (510, b"\x55\xaa")), FilesystemFacts("exfat", "", "0403-0201")),
        (fat(), FilesystemFacts("vfat", "EFI", "1234-5678")),
        (
            at((54, b"FAT16   "), (39, b"\x78\x56\x34\x12"), (43, b"NO NAME    "), (510, b"\x55\xaa")),
            FilesystemFacts("vfat", "", "1234-5678"),
        ),
        (at((4096 - 10, b"SWAPSPACE2"), (1036, ID.bytes), (1052, b"swap")), FilesystemFacts("swap", "swap", TEXT)),
        (at((65536 - 10, b"SWAPSPACE2"), (1036, ID.bytes)), FilesystemFacts("swap", "", TEXT)),
        (
            at((512, b"LABELONE"), (512 + 20, struct.pack("<I", 32)), (512 + 24, b"LVM2 001"), (512 + 32, LVM.encode())),
            FilesystemFacts("LVM2_member", "", "abcdef-GHIJ-KLmn-opQR-STuv-wxYZ-012345"),
        ),
        (at((0, b"LUKS\xba\xbe\0\1"), (168, TEXT.encode())), FilesystemFacts("crypto_LUKS", "", TEXT)),
        (at((0, b"LUKS\xba\xbe\0\2"), (24, b"secret"), (168, TEXT.encode())), FilesystemFacts("crypto_LUKS", "secret", TEXT)),
        (
            at((4096, struct.pack("<II", 0xA92B4EFC, 1)), (4096 + 16, ID.bytes), (4096 + 32, b"host:0")),
            FilesystemFacts("linux_raid_member", "host:0", TEXT),
        ),
        (at((0, b"hsqs")), FilesystemFacts("squashfs")),
        (
            at((1024, b"\xe2\xe1\xf5\xe0"), (1024 + 48, ID.bytes), (1024 + 64, b"vendor")),
            FilesystemFacts("erofs", "vendor", TEXT),
        ),
        (
            at((1024, b"\x10\x20\xf5\xf2"), (1024 + 108, ID.bytes), (1024 + 124, "flash".encode("utf-16-le"))),
            FilesystemFacts("f2fs", "flash", TEXT),
        ),
        (at((32769, b"BEA01")), FilesystemFacts("udf")),
        (make.ext_superblock(), FilesystemFacts("ext4", "root", str(make.DISK_ID))),
    ],
    ids=lambda value: value.kind if isinstance(value, FilesystemFacts) else "",
)
def test_a_file_system_is_known_by_its_superblock(image: bytes, found: FilesystemFacts) -> None:
    assert recognise(BytesReader(image)) == found


@pytest.mark.parametrize("length", [0, 1, 100, 511, 512, 1024, 1100, 4096, 32768, 33000, 65600])
def test_what_ends_in_the_middle_of_a_superblock_is_nothing_or_known(length: int) -> None:
    for start in (b"XFSB", b"LUKS\xba\xbe", b"", make.ext_superblock(), make.iso()[:34000]):
        recognise(BytesReader(start.ljust(70000, b"\0")[:length]))


def test_noise_is_no_file_system() -> None:
    assert recognise(BytesReader(make.pattern(MIB))) is None
    assert recognise(BytesReader(bytes(MIB))) is None


def test_labels_are_shown_without_what_a_terminal_obeys() -> None:
    found = recognise(BytesReader(at((0, b"XFSB"), (108, b"\x1b[31m\xff"))))
    assert found is not None
    assert found.label == "?[31m�"
