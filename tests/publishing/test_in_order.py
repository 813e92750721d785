"""Raw disks, however they are packed and sent: cut into chunks while they arrive, without a file of the disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from phimage.catalog.image_bytes import QUOTAS, left_of
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.formats.examine import examine
from phimage.formats.reader import BytesReader
from phimage.model.ids import ProjectId
from phimage.model.image import State
from phimage.model.image_bytes import Quota
from phimage.model.job import JobState
from phimage.publishing.progress import UNPACK
from phimage.publishing.stored_reader import write_outline
from phimage.sources.partial_file import FreeSpace
from tests.publishing.shop import AUTHOR, MIB, Shop, disk, image, sha256_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gz": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstd.compress,
    "bz2": lambda data: bz2.compress(data, 1),
}


@pytest.fixture
def dialect() -> str:
    """The bytes are what these tests are about."""
    return "sqlite"


class Watching(MemoryStore):
    """Notes what the work folder has whenever a chunk is put."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        self.work = work
        self.seen: list[list[str]] = []

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        if any(name.startswith("chunks/") for name, _ in objects):
            self.seen.append([path.suffix for path in self.work.iterdir()])
        super().put_all(objects)


def packed(folder: Path, kind: str, content: bytes) -> Path:
    path = folder / f"disk.{kind}"
    path.write_bytes(PACK[kind](content))
    return path


def as_vhd(raw: Path) -> Path:
    """The disk as a fixed VHD: its bytes, and a footer that alone says so."""
    path = raw.with_suffix(".vhd")
    options = ["-O", "vpc", "-o", "subformat=fixed,force_size=on"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, str(raw), str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("raw", "parts"),
        ("raw", "chunks"),
        ("zst", "parts"),
        *(
            pytest.param(*both, marks=pytest.mark.more)
            for both in [("gz", "parts"), ("xz", "parts"), ("bz2", "parts"), ("xz", "chunks")]
        ),
    ],
)
def test_a_raw_disk_is_stored_while_it_arrives_and_never_a_file(catalog: Catalog, tmp_path: Path, kind: str, by: str) -> None:
    raw = disk(tmp_path)
    with raw.open("r+b") as file:
        file.truncate(40 * MIB)  # ends in a hole
    store = Watching(tmp_path / "work")
    shop = Shop(catalog, store, tmp_path / "work")
    file_sent = packed(tmp_path, kind, raw.read_bytes())
    job = (shop.begin if by == "parts" else shop.begin_by_chunks)(file_sent)

    assert shop.work_once().error == ""

    content = shop.content(job.image)
    assert (content.sha256, content.size, content.format) == (sha256_of(raw), 40 * MIB, "raw")
    assert content.source_digest == f"sha256:{sha256_of(file_sent)}"
    assert content.facts.table is not None
    assert shop.bytes_of(job.image) == raw.read_bytes()
    assert store.seen
    assert not any(store.seen)
    assert list(shop.work.iterdir()) == []


@pytest.mark.parametrize("kind", ["raw", pytest.param("gz", marks=pytest.mark.more)])
def test_a_disk_whose_last_bytes_are_those_of_a_vhd_is_a_vhd(shop: Shop, tmp_path: Path, kind: str) -> None:
    raw = disk(tmp_path)
    file = packed(tmp_path, kind, as_vhd(raw).read_bytes())
    job = shop.begin(file)

    assert shop.work_once().error == ""

    content = shop.content(job.image)
    assert (content.format, content.sha256, content.size) == ("vhd", sha256_of(raw), 6 * MIB)
    assert content.source_digest == f"sha256:{sha256_of(file)}"
    assert list(shop.work.iterdir()) == []


def test_a_packed_disk_of_no_whole_sectors_is_padded(shop: Shop, tmp_path: Path) -> None:
    content = disk(tmp_path).read_bytes() + b"odd"
    job = shop.begin(packed(tmp_path, "zst", content))
    assert shop.work_once().error == ""
    assert shop.bytes_of(job.image) == content + bytes(509)
    assert any(finding.startswith("size.odd") for finding in shop.content(job.image).findings)


@pytest.mark.parametrize("digest", ["sha256:" + "1" * 64, "sha512:" + "1" * 128])
def test_a_wrong_digest_is_found_before_the_disk_is_examined_and_leaves_only_chunks(
    shop: Shop, tmp_path: Path, digest: str
) -> None:
    job = shop.begin(packed(tmp_path, "zst", disk(tmp_path).read_bytes()), digest=digest, format="qcow2")
    ended = shop.work_once()
    assert (ended.state, f"expected was {digest}" in ended.error) == (JobState.FAILED, True), ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE
    assert {stored.name.partition("/")[0] for stored in shop.store.list()} <= {"chunks"}
    assert list(shop.work.iterdir()) == []


def test_a_file_that_is_cut_short_becomes_no_image(shop: Shop, tmp_path: Path) -> None:
    file = packed(tmp_path, "zst", disk(tmp_path).read_bytes())
    file.write_bytes(file.read_bytes()[:-9])
    job = shop.begin(file)
    assert "cut short" in shop.work_once().error
    assert shop.image(job.image).state is State.UNAVAILABLE
    assert not list(shop.store.list("manifests"))


def test_a_disk_of_unknown_size_needs_its_quota_as_it_grows(shop: Shop, tmp_path: Path) -> None:
    project = ProjectId("org-a")
    with shop.catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(project, 200 * MIB))
    content = disk(tmp_path).read_bytes() + bytes(290 * MIB)
    job = shop.begin(packed(tmp_path, "gz", content), made=image(1, project))
    ended = shop.work_once()
    assert (ended.phase, "quota of project org-a" in ended.error) == (UNPACK, True), ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE
    with shop.catalog.database.read() as connection:
        assert left_of(connection, project) == 200 * MIB


@pytest.mark.parametrize("size", [6 * MIB, MIB + 512, 64 * 1024])
def test_before_qemu_img_the_ends_of_a_disk_stand_for_it(tmp_path: Path, size: int) -> None:
    content = disk(tmp_path).read_bytes()[:size]
    file = tmp_path / "outline"
    write_outline(BytesReader(content), "a disk", file, FreeSpace(tmp_path, 0))
    written = file.read_bytes()
    assert (len(written), written[:MIB], written[-MIB:]) == (size, content[:MIB], content[-MIB:])

    def found(outline: Path) -> tuple[bool, list[str]]:
        examination = examine(BytesReader(content), outline=outline)
        return examination.confirmed, [finding.id for finding in examination.findings if finding.id == "inspectors.disagree"]

    assert found(file) == (True, [])
    os.truncate(file, size + 512)
    assert found(file) == (False, ["inspectors.disagree"])
