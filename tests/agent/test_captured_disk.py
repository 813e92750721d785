"""The disk that a capture reads, from real block devices: whole, trimmed, and with sectors that cannot be read."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phimage.agent.block_device import BlockDevice
from phimage.agent.captured_disk import BadSector, CapturedDisk
from phimage.agent.errors import DiskRefused
from phimage.formats.disk import describe
from phimage.formats.examine import examine_disk
from phimage.formats.finding import Finding
from phimage.formats.reader import FileReader
from tests.deploying import loop_device, needs_loop_devices

MIB = 1 << 20

pytestmark = needs_loop_devices


def table(file: Path, size: int, script: str, *, sector_size: int = 512) -> Path:
    """A disk with a partition table, as sfdisk writes it, and noise in its partitions."""
    with file.open("wb") as disk:
        disk.truncate(size)
    with loop_device(file, sector_size) as device:
        subprocess.run(
            ["/usr/sbin/sfdisk", "-q", "--no-reread", "--no-tell-kernel", device], input=script, text=True, check=True
        )
    with file.open("r+b") as disk:
        for place in (1, 2, 5):
            disk.seek(place * MIB + 4096)
            disk.write(random.Random(place).randbytes(200_000))
    return file


GPT = "label: gpt\nstart=1MiB, size=2MiB, name=first\nstart=4MiB, size=3MiB, name=second\n"
MBR = "label: dos\nstart=1MiB, size=2MiB, type=83\nstart=4MiB, size=3MiB, type=83\n"


@contextmanager
def captured(file: Path, *, trim: bool, sector_size: int = 512) -> Iterator[CapturedDisk]:
    with (
        loop_device(file, sector=sector_size, read_only=True) as path,
        BlockDevice(path, writable=False) as device,
    ):
        yield CapturedDisk(device, trim=trim)


def content(disk: CapturedDisk) -> bytes:
    return b"".join(disk.read(index) for index in disk.data())


def findings(file: Path) -> tuple[Finding, ...]:
    with FileReader(file) as reader:
        return examine_disk(reader).findings


@pytest.mark.parametrize("size", [16 * MIB, 16 * MIB + 4096])
def test_without_trim_a_disk_is_read_byte_for_byte(tmp_path: Path, size: int) -> None:
    file = table(tmp_path / "disk", size, GPT)
    with captured(file, trim=False) as disk:
        assert disk.size == size
        assert content(disk) == file.read_bytes()


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_trimmed_gpt_ends_after_its_last_partition_and_is_whole(tmp_path: Path, sector_size: int) -> None:
    file = table(tmp_path / "disk", 64 * MIB, GPT, sector_size=sector_size)
    with captured(file, trim=True, sector_size=sector_size) as disk:
        assert disk.size == 8 * MIB  # partitions to 7 MiB, and the backup
        made = content(disk)
    small = tmp_path / "small"
    small.write_bytes(made)

    whole = file.read_bytes()
    assert made[MIB : 7 * MIB] == whole[MIB : 7 * MIB]
    assert made[2 * sector_size : 2 * sector_size + 16384] == whole[2 * sector_size : 2 * sector_size + 16384]
    assert findings(small) == findings(file) == ()
    with FileReader(file) as before, FileReader(small) as after:
        assert describe(before).partitions == describe(after).partitions
    with loop_device(small, sector_size) as device:
        verified = subprocess.run(["/usr/sbin/sfdisk", "--verify", device], capture_output=True, text=True, check=True)
        dumped = subprocess.run(["/usr/sbin/sfdisk", "--dump", device], capture_output=True, text=True, check=True)
    assert "No errors" in verified.stdout + verified.stderr
    assert f"last-lba: {8 * MIB // sector_size - 16384 // sector_size - 2}" in dumped.stdout


def test_a_trimmed_mbr_ends_after_its_last_partition(tmp_path: Path) -> None:
    file = table(tmp_path / "disk", 64 * MIB, MBR)
    with captured(file, trim=True) as disk:
        assert content(disk) == file.read_bytes()[: 7 * MIB]


def test_there_may_be_nothing_to_trim(tmp_path: Path) -> None:
    file = table(tmp_path / "disk", 8 * MIB, GPT)
    with captured(file, trim=True) as disk:
        assert content(disk) == file.read_bytes()


def damage(file: Path, offset: int) -> None:
    with file.open("r+b") as disk:
        disk.seek(offset)
        disk.write(b"\xff" * 8)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(510, "it has no partitions"), (512 + 40, "its GPT is damaged"), (1024, "its GPT is damaged")],
)
def test_a_table_that_cannot_be_read_is_not_trimmed(tmp_path: Path, offset: int, expected: str) -> None:
    file = table(tmp_path / "disk", 16 * MIB, MBR if offset == 510 else GPT)
    damage(file, offset)
    with pytest.raises(DiskRefused, match=f"{expected}.*without --trim"), captured(file, trim=True):
        pass
    with captured(file, trim=False) as disk:
        assert content(disk) == file.read_bytes()


def test_a_gpt_without_partitions_is_not_trimmed(tmp_path: Path) -> None:
    """Nothing says where the disk ends: the image would have 1 MiB, and lack all that is beside partitions."""
    file = table(tmp_path / "disk", 16 * MIB, "label: gpt\n")
    with pytest.raises(DiskRefused, match=r"it has no partitions.*without --trim"), captured(file, trim=True):
        pass


def test_a_sector_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Behind the end of its file, a loop device fails to read."""
    file = table(tmp_path / "disk", 16 * MIB, GPT)
    with captured(file, trim=False) as disk:
        os.truncate(file, 9 * MIB + 12288)
        assert disk.read(8) == file.read_bytes()[8 * MIB : 9 * MIB]
        with pytest.raises(BadSector, match=r"sector 18456 \(LBA, byte 9449472\)") as failed:
            disk.read(9)
    assert failed.value.lba == (9 * MIB + 12288) // 512


def test_a_disk_in_use_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "disk", 8 * MIB, GPT)
    with loop_device(file) as path, BlockDevice(path, writable=False), pytest.raises(DiskRefused, match="something holds it"):
        BlockDevice(path, writable=False)
