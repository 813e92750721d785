"""Images made by qemu-img: the good ones are accepted and return their disk, the bad ones are refused."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.formats import qemu
from phimage.formats.disk import describe
from phimage.formats.errors import QemuFailed
from phimage.formats.examine import Examination, examine, examine_disk
from phimage.formats.finding import Severity
from phimage.formats.reader import BytesReader, FileReader
from tests.formats import oracle, qemu_images
from tests.formats.qemu_images import BAD, GOOD, SIZE

FLIPS = 400 if os.environ.get("PHIMAGE_TORTURE") else 6
OSLO_REFUSES = {"qcow2, extended L2": "it does not know the feature, qemu has it since 5.2"}
OSLO_TAKES = {
    "qcow2, encrypted": "it does not look at it",
    "qcow2, 3 TiB": "it has no limit of size",
    "qcow2, 1 EiB": "it has no limit of size",
    "vmdk, parent": "it does not look at it",
    "vhdx, 60 TiB": "it has no limit of size",
    "vdi": "it takes the format, phimage does not",
    "parallels": "it takes it for a raw disk",
}
each_good_one = pytest.mark.parametrize("name", GOOD)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "disk.raw").write_bytes(qemu_images.disk())
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def refused(found: Examination) -> set[str]:
    return {finding.id for finding in found.refusals()}


@each_good_one
def test_an_image_of_qemu_img_is_taken_and_gives_its_disk_back(name: str, folder: Path) -> None:
    path = qemu_images.convert(name, folder)
    found = examine(path, stated=GOOD[name][0])
    assert found.confirmed, found.findings
    assert not refused(found)
    assert found.virtual_size == SIZE

    out = folder / "out.raw"
    qemu.convert(path, found.format, out, size=SIZE)
    assert out.read_bytes() == (folder / "disk.raw").read_bytes()
    assert out.stat().st_blocks * 512 < SIZE
    with FileReader(out) as reader:
        assert not examine_disk(reader).refusals()
        assert describe(reader).table == "gpt"


@each_good_one
def test_oslo_utils_takes_it_too_or_the_difference_is_explained(name: str, folder: Path) -> None:
    assert oracle.accepts(qemu_images.convert(name, folder).read_bytes()) is (name not in OSLO_REFUSES)


@each_good_one
def test_an_image_that_lost_its_end_is_refused(name: str, folder: Path) -> None:
    path = qemu_images.convert(name, folder)
    whole = path.read_bytes()
    found = examine(BytesReader(whole[: len(whole) * 2 // 3 // 512 * 512]))
    assert refused(found) == {"disk.truncated" if name in ("raw", "vhd, fixed") else f"{GOOD[name][0]}.truncated"}


@pytest.mark.parametrize("name", BAD)
def test_oslo_utils_refuses_it_too_or_the_difference_is_explained(name: str, folder: Path) -> None:
    BAD[name][0](folder)
    assert oracle.accepts((folder / "bad").read_bytes()) is (name in OSLO_TAKES)


@pytest.mark.parametrize("name", BAD)
def test_an_image_that_needs_more_than_itself_is_refused(name: str, folder: Path) -> None:
    make, id = BAD[name]
    make(folder)
    found = examine(folder / "bad")
    assert id in refused(found)
    if id == "size.limit":
        assert "size.limit" not in {finding.id for finding in found.refusals(frozenset({"size.limit"}))}


def test_a_snapshot_is_noted_and_the_present_state_is_taken(folder: Path) -> None:
    path = qemu_images.convert("qcow2", folder)
    qemu_images.run("snapshot", "-c", "before", path, folder=folder)
    qemu_images.run("bitmap", "--add", path, "changes", folder=folder)
    found = examine(path)
    assert found.confirmed
    assert [(finding.id, finding.severity) for finding in found.findings] == [("qcow2.snapshots", Severity.NOTE)]


@pytest.mark.more
@pytest.mark.parametrize(
    "name", ["qcow2", "qcow2, clusters of 512", "vmdk", "vmdk, stream", "vhd, dynamic", "vhdx, blocks of 1M"]
)
def test_a_flipped_bit_of_metadata_is_refused_or_harmless(name: str, folder: Path) -> None:
    """An accepted file is opened by qemu-img too; converting it succeeds or fails, never with more bytes than the disk."""
    whole = qemu_images.convert(name, folder).read_bytes()
    seed = random.Random(name)
    used = [place for place in range(0, min(len(whole), 1 << 22), 512) if whole[place : place + 512].strip(b"\0")]
    for number in range(FLIPS):
        place = seed.choice(used) + seed.randrange(512)
        path = folder / f"flipped-{number}"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << seed.randrange(8)]) + whole[place + 1 :])
        found = examine(path)
        if not found.refusals():
            assert found.confirmed
            assert found.virtual_size is not None
            out = folder / "out.raw"
            try:
                qemu.convert(path, found.format, out, size=found.virtual_size)
                assert out.stat().st_size == found.virtual_size
            except QemuFailed:
                assert not out.exists()
            out.unlink(missing_ok=True)
        path.unlink()


def test_a_disk_inside_of_a_disk_image_inside_is_refused(folder: Path) -> None:
    """Converted it would be a raw disk that begins like a qcow2, with a backing file that a guessing program opens."""
    qemu_images.run("create", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "inner", folder=folder)
    qemu_images.run("convert", "-f", "raw", "-O", "qcow2", "inner", "outer", folder=folder)
    found = examine(folder / "outer")
    assert not found.refusals()
    assert found.virtual_size is not None
    qemu.convert(folder / "outer", found.format, folder / "out", size=found.virtual_size)
    with FileReader(folder / "out") as reader:
        assert "disk.nested" in refused(examine_disk(reader))
