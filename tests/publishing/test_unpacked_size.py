"""A compressed original that unpacks to too many bytes is refused during unpacking, with the limit in the reason."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.formats.limits import DiskLimits
from phimage.model.image import State
from phimage.model.job import JobState
from phimage.publishing.progress import UNPACK
from tests.publishing.shop import MIB, Shop, as_qcow2, disk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 8 * MIB
REFUSED = f"size.limit: it unpacks to more than {LIMIT + LIMIT // 32} bytes; the limit of a disk is {LIMIT} "


def streamed(content: bytes) -> bytes:
    """A zstd frame without a declared size, as of a pipe."""
    packer = zstd.ZstdCompressor()
    return packer.compress(content) + packer.flush()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": streamed,
    "bz2": lambda data: bz2.compress(data, 1),
}


@pytest.fixture
def dialect() -> str:
    """The bytes are what these tests are about."""
    return "sqlite"


@pytest.fixture
def small(catalog: Catalog, tmp_path: Path) -> Shop:
    """A publisher of disks of at most LIMIT bytes."""
    return Shop(catalog, MemoryStore(), tmp_path / "work", limits=DiskLimits(virtual_size=LIMIT))


def packed(folder: Path, content: bytes) -> Path:
    path = folder / "disk.packed"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("members", [1, pytest.param(4, marks=pytest.mark.more)])
@pytest.mark.parametrize("kind", PACK)
def test_unpacking_stops_at_the_limit(small: Shop, tmp_path: Path, kind: str, members: int) -> None:
    content = disk(tmp_path, mebibytes=6).read_bytes() + bytes(26 * MIB)
    size = len(content) // members
    file = packed(tmp_path, b"".join(PACK[kind](content[at : at + size]) for at in range(0, len(content), size)))
    job = small.begin(file)
    ended = small.work_once()
    assert (ended.state, ended.phase) == (JobState.FAILED, UNPACK)
    assert ended.error.startswith(REFUSED)
    assert "--override size.limit" in ended.error
    assert small.image(job.image).state is State.UNAVAILABLE
    assert list(small.work.iterdir()) == []


def test_a_size_that_is_told_is_refused_before_anything_is_unpacked(small: Shop, tmp_path: Path) -> None:
    small.begin(packed(tmp_path, zstd.compress(disk(tmp_path).read_bytes() + bytes(26 * MIB))))
    ended = small.work_once()
    assert ended.error.startswith(REFUSED)
    assert ended.phase == ""


def test_a_disk_that_a_compressed_header_tells_is_refused_before_the_rest_is_unpacked(small: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    with raw.open("r+b") as file:
        file.truncate(LIMIT + MIB)
    small.begin(packed(tmp_path, gzip.compress(as_qcow2(raw).read_bytes(), 1)))
    ended = small.work_once()
    assert ended.error.startswith(f"size.limit: a disk of {LIMIT + MIB} bytes; the limit is {LIMIT}")
    assert ended.phase == ""


def test_a_compressed_disk_of_just_the_limit_is_published(small: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path, mebibytes=8)
    job = small.begin(packed(tmp_path, gzip.compress(raw.read_bytes(), 1)))
    assert small.work_once().error == ""
    assert small.content(job.image).size == LIMIT


def test_the_limit_can_be_overridden(small: Shop, tmp_path: Path) -> None:
    content = disk(tmp_path).read_bytes() + bytes(26 * MIB)
    job = small.begin(packed(tmp_path, gzip.compress(content, 1)), overrides=("size.limit",))
    assert small.work_once().error == ""
    assert small.content(job.image).size == len(content)
