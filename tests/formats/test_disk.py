"""Descriptions of real disks: tables by sfdisk, file systems by mke2fs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from phimage.formats.disk import DiskDescription, describe
from phimage.formats.errors import FormatError
from phimage.formats.examine import examine, examine_disk
from phimage.formats.ext4 import Ext4
from phimage.formats.filesystem import recognise
from phimage.formats.reader import FileReader, ReaderAt
from phimage.model.image_bytes import SystemFacts
from tests.formats import make
from tests.formats.make import MIB
from tests.formats.mutation import Memory
from tests.formats.real_disk import blkid, fat, mke2fs, mkswap, put, root_folder, sfdisk

DEBIAN = SystemFacts("debian", "12", "Debian GNU/Linux", "Debian GNU/Linux 12 (bookworm)", "bookworm", "x86_64")
KERNELS = ("6.1.0-13-amd64", "6.1.0-14-amd64")

GPT = """\
label: gpt
label-id: 11111111-2222-3333-4444-555555555555
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=4096, size=4096, type=U, name=esp
start=8192, size=16384, type=L, name=root
start=24576, size=2048, type=S
"""
MBR = """\
label: dos
label-id: 0xdeadbeef
start=2048, size=16384, type=83, bootable
start=18432, size=12288, type=5
start=20480, size=2048, type=82
start=24576, size=2048, type=8e
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = root_folder(tmp_path_factory.mktemp("root"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)


def described(path: Path) -> DiskDescription:
    with FileReader(path) as reader:
        found = describe(reader)
    assert msgspec.json.decode(msgspec.json.encode(found), type=DiskDescription) == found
    return found


class Counted:
    """A reader that counts its reads, as a chunk store would see them."""

    def __init__(self, reader: ReaderAt) -> None:
        self._reader = reader
        self.reads = 0

    @property
    def size(self) -> int:
        return self._reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads += 1
        return self._reader.read_at(offset, length)


def test_a_disk_with_a_gpt_for_both_firmwares_is_described(folder: Path, root: Path) -> None:
    disk = folder / "disk"
    sfdisk(disk, GPT, 16 * MIB)
    put(disk, 0, b"\xeb\x63".ljust(380, b"\x90") + b"GRUB \0")
    put(disk, 2 * MIB, fat())
    put(disk, 4 * MIB, mke2fs(folder / "ext4", "-t", "ext4", folder=root))
    put(disk, 12 * MIB, mkswap(folder / "swap"))

    with FileReader(disk) as reader:
        counted = Counted(reader)
        found = describe(counted)
    assert counted.reads < 100
    assert (found.size, found.table, found.hybrid, found.sector_size) == (16 * MIB, "gpt", False, 512)
    assert found.id == "11111111-2222-3333-4444-555555555555"
    assert [slot.type_name for slot in found.partitions] == ["BIOS boot", "EFI system", "Linux file system", "Linux swap"]
    assert [slot.filesystem.kind if slot.filesystem else "" for slot in found.partitions] == ["", "vfat", "ext4", "swap"]
    assert [slot.name for slot in found.partitions] == ["", "esp", "root", ""]
    assert [slot.start for slot in found.partitions] == [MIB, 2 * MIB, 4 * MIB, 12 * MIB]
    assert found.boot == ("bios", "uefi")
    assert found.system == DEBIAN
    assert found.kernels == KERNELS

    examined = examine(disk, stated="raw")
    assert examined.confirmed
    assert examined.findings == ()


def test_a_disk_with_an_mbr_and_logical_partitions_is_described(folder: Path, root: Path) -> None:
    disk = folder / "disk"
    sfdisk(disk, MBR, 16 * MIB)
    put(disk, 0, b"\xeb\x63\x90")
    put(disk, MIB, mke2fs(folder / "ext3", "-t", "ext3", folder=root))
    put(disk, 10 * MIB, mkswap(folder / "swap"))
    found = described(disk)
    assert (found.table, found.id, found.boot) == ("mbr", "deadbeef", ("bios",))
    assert [(slot.number, slot.type, slot.active) for slot in found.partitions] == [
        (1, "83", True),
        (2, "05", False),
        (5, "82", False),
        (6, "8e", False),
    ]
    assert [slot.filesystem.kind if slot.filesystem else "" for slot in found.partitions] == ["ext3", "", "swap", ""]
    assert found.system == DEBIAN


def test_the_kernels_of_a_separate_boot_file_system_are_found(folder: Path, root: Path) -> None:
    disk = folder / "disk"
    sfdisk(disk, "label: gpt\nstart=2048, size=8192, type=L\nstart=12288, size=16384, type=L\n", 16 * MIB)
    put(disk, MIB, mke2fs(folder / "boot", folder=root / "boot", size="4M", label="boot"))
    put(disk, 6 * MIB, mke2fs(folder / "ext4", "-t", "ext4", folder=root))
    found = described(disk)
    assert found.system == DEBIAN
    assert found.kernels == KERNELS
    assert found.boot == ()


@pytest.mark.parametrize("damage", ["primary", "backup", "both"])
def test_a_gpt_is_read_from_what_is_left_of_it(damage: str, folder: Path) -> None:
    disk = folder / "disk"
    sfdisk(disk, GPT, 16 * MIB)
    if damage in ("primary", "both"):
        put(disk, 512 + 40, b"\xff")
    if damage in ("backup", "both"):
        put(disk, 16 * MIB - 512 + 40, b"\xff")
    found = described(disk)
    with FileReader(disk) as reader:
        findings = [finding.id for finding in examine_disk(reader).findings]
    if damage == "both":
        assert (found.table, found.partitions) == ("", ())
        assert findings == ["disk.unknown"]
    else:
        assert len(found.partitions) == 4
        assert findings == [f"gpt.{damage}-damaged"]


def test_a_gpt_on_a_disk_that_was_enlarged_is_noted(folder: Path) -> None:
    disk = folder / "disk"
    sfdisk(disk, GPT, 16 * MIB)
    os.truncate(disk, 20 * MIB)
    with FileReader(disk) as reader:
        assert [finding.id for finding in examine_disk(reader).findings] == ["gpt.backup-elsewhere"]


@pytest.mark.parametrize(
    "options",
    [
        ("-t", "ext2", "-b", "1024"),
        ("-t", "ext2", "-b", "4096"),
        ("-t", "ext3", "-b", "1024"),
        ("-t", "ext4"),
        ("-t", "ext4", "-b", "1024"),
        ("-t", "ext4", "-O", "inline_data"),
        ("-t", "ext4", "-O", "^64bit"),
        ("-t", "ext4", "-O", "^64bit,^extents"),
        ("-t", "ext4", "-I", "128"),
        ("-t", "ext4", "-O", "metadata_csum_seed"),
    ],
    ids=" ".join,
)
def test_a_file_system_of_mke2fs_is_recognised_and_read(options: tuple[str, ...], folder: Path, root: Path) -> None:
    path = mke2fs(folder / "file-system", *options, folder=root)
    found = described(path)
    said = blkid(path)
    assert found.filesystem is not None
    assert (found.filesystem.kind, found.filesystem.label, found.filesystem.uuid) == (said["TYPE"], said["LABEL"], said["UUID"])
    assert found.system == DEBIAN
    assert found.kernels == KERNELS
    assert [finding.id for finding in examine(path, second=None).findings] == ["disk.bare"]


@pytest.mark.parametrize("feature", ["meta_bg,^resize_inode", "bigalloc"])
def test_a_file_system_that_the_reader_does_not_know_is_recognised_and_left_alone(
    feature: str, folder: Path, root: Path
) -> None:
    found = described(mke2fs(folder / "file-system", "-t", "ext4", "-O", feature, folder=root))
    assert found.filesystem is not None
    assert found.filesystem.kind == "ext4"
    assert found.system is None


def test_links_are_followed_inside_and_loops_end(folder: Path) -> None:
    tree = folder / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/file").write_bytes(b"found")
    for name, target in {
        "up": "../../../deep/file",
        "absolute": "/deep/file",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "dangling": "nowhere",
        "folder": "deep",
        "long": "deep/" + "./" * 100 + "file",
    }.items():
        (tree / name).symlink_to(target)
    for number in range(20):
        (tree / f"chain{number}").symlink_to(f"chain{number + 1}")
    with FileReader(mke2fs(folder / "file-system", "-t", "ext4", folder=tree)) as reader:
        found = Ext4(reader)
        for path in ("up", "absolute", "folder/file", "/folder/../deep//./er/../file"):
            assert found.read_file(path, 100) == b"found", path
        for path in ("loop", "ping", "dangling", "chain0", "deep", "deep/file/x", "", "/" * 200 + "x" * 300, "a/" * 100):
            assert found.read_file(path, 100) is None, path
        assert found.read_file("deep/file", 3) == b"fou"
        assert found.names("deep") == ("er", "file")
        assert found.names("deep/file") == ()


@pytest.mark.parametrize("options", [("-t", "ext2", "-b", "1024"), ("-t", "ext4", "-b", "1024")], ids=" ".join)
def test_large_folders_and_files_are_read(options: tuple[str, ...], folder: Path) -> None:
    tree = folder / "tree"
    (tree / "boot").mkdir(parents=True)
    for number in range(2000):
        (tree / "boot" / f"a-rather-long-name-{number:06}").touch()
    (tree / "boot/vmlinuz-1").touch()
    content = make.pattern(700_000)
    (tree / "large").write_bytes(content)
    with (tree / "sparse").open("wb") as file:
        file.seek(600_000)
        file.write(b"end")
    with FileReader(mke2fs(folder / "file-system", *options, "-N", "3000", folder=tree)) as reader:
        found = Ext4(reader)
        assert len(found.names("boot")) == 2001
        assert found.read_file("large", MIB) == content
        assert found.read_file("sparse", MIB) == bytes(600_000) + b"end"
        assert describe(reader).kernels == ("1",)


def test_a_damaged_file_system_is_left_alone(folder: Path, root: Path) -> None:
    whole = mke2fs(folder / "file-system", "-t", "ext4", "-b", "1024", folder=root).read_bytes()
    for place in range(1024, 128 * 1024, 997):
        data = bytearray(whole)
        data[place : place + 16] = b"\xff" * 16
        describe(Memory(bytes(data)))
    for place in (1024 + 24, 1024 + 254, 1024 + 96):
        data = bytearray(whole)
        data[place : place + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(FormatError):
            Ext4(Memory(bytes(data))).names("/")


def test_swap_is_recognised(folder: Path) -> None:
    path = mkswap(folder / "swap")
    with FileReader(path) as reader:
        found = recognise(reader)
    assert found is not None
    assert (found.kind, found.label, found.uuid) == ("swap", "swap", blkid(path)["UUID"])
