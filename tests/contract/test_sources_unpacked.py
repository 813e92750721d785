"""Decompression into work files: the same bytes with holes for zeros, complete or not at all."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phimage.sources.compression import Compression
from phimage.sources.digest import FIRST_USE, VerifyingReader
from phimage.sources.digest import expected_digest as expect
from phimage.sources.errors import DigestMismatch, TooLarge, UnpackRefused
from phimage.sources.partial_file import CHECK_EVERY_BYTES, FreeSpace
from phimage.sources.source import LocalFile
from phimage.sources.unpack import UNIT, SparseWriter, UnpackLimits
from tests.unpacking import UnpackedFile, unpack_to

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
NOISE = random.Random(1).randbytes(65536)
DISK = NOISE * 16 + bytes(9 * MIB) + NOISE + bytes(3 * MIB + 5)

PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: lambda data: gzip.compress(data, 1),
    Compression.XZ: lambda data: lzma.compress(data, preset=0),
    Compression.ZSTD: zstd.compress,
    Compression.BZIP2: bz2.compress,
}


def unpack(folder: Path, packed: bytes, bounds: UnpackLimits | None = None, *, free: int = 10**15) -> UnpackedFile:
    (folder / "packed").write_bytes(packed)
    room = FreeSpace(folder, 0, lambda _: free)
    with LocalFile(folder / "packed").open() as reader:
        return unpack_to(reader, "disk.img", folder / "work", room, bounds)


@pytest.mark.parametrize("kind", list(PACK))
def test_zeros_become_holes_and_the_bytes_are_the_same(tmp_path: Path, kind: Compression) -> None:
    packed = PACK[kind](DISK)
    found = unpack(tmp_path, packed)
    assert found == UnpackedFile(len(DISK), MIB + 65536, len(packed), kind)
    assert (tmp_path / "work").read_bytes() == DISK
    assert (tmp_path / "work").stat().st_blocks * 512 < 2 * MIB
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o600


pages = st.lists(st.sampled_from([0, 1, 2]), max_size=40)


@given(pages, st.integers(0, UNIT - 1), st.lists(st.integers(1, 3 * UNIT), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_blocks_are_written_as_they_are(tmp_path: Path, kinds: list[int], rest: int, sizes: list[int]) -> None:
    content = b"".join([bytes(UNIT), NOISE[:UNIT], bytes(UNIT - 1) + b"x"][kind] for kind in kinds) + NOISE[:rest]
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        writer, place = SparseWriter(file.fileno()), 0
        while place < len(content):
            size = sizes.pop() if sizes else 1000 * UNIT
            writer.write(content[place : place + size])
            place += size
        writer.finish()
    assert path.read_bytes() == content
    assert writer.size == len(content)


def test_an_older_file_in_its_place_leaves_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"\xaa" * (20 * MIB))
    unpack(tmp_path, gzip.compress(DISK))
    assert (tmp_path / "work").read_bytes() == DISK


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(DISK)[:-1], gzip.compress(DISK) + b"x", gzip.compress(gzip.compress(DISK)), gzip.compress(b""), b""],
    ids=["cut", "trailing", "nested", "nothing", "empty"],
)
def test_what_is_refused_leaves_no_file(tmp_path: Path, packed: bytes) -> None:
    with pytest.raises(UnpackRefused):
        unpack(tmp_path, packed)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


@pytest.mark.more
def test_a_bomb_leaves_no_file_and_took_no_room(tmp_path: Path) -> None:
    with pytest.raises(UnpackRefused, match="bomb"):
        unpack(tmp_path, gzip.compress(bytes(128 * MIB)))
    with pytest.raises(TooLarge, match="more than the limit"):
        unpack(tmp_path, gzip.compress(bytes(64 * MIB)), UnpackLimits(max_size=63 * MIB))
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_a_wrong_digest_of_the_compressed_bytes_leaves_no_file(tmp_path: Path) -> None:
    packed = gzip.compress(DISK)
    (tmp_path / "packed").write_bytes(packed)
    room = FreeSpace(tmp_path, 0)
    for text in (hashlib.sha256(packed).hexdigest(), hashlib.sha256(DISK).hexdigest()):
        with VerifyingReader(LocalFile(tmp_path / "packed").open(), expect(text), "disk.gz") as reader:
            if text == hashlib.sha256(packed).hexdigest():
                assert unpack_to(reader, "disk.gz", tmp_path / "work", room).size == len(DISK)
                assert reader.finish()
            else:
                with pytest.raises(DigestMismatch):
                    unpack_to(reader, "disk.gz", tmp_path / "work", room)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_the_digest_covers_every_byte_when_the_file_was_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(DISK) + bytes(1000)
    (tmp_path / "packed").write_bytes(packed)
    with VerifyingReader(LocalFile(tmp_path / "packed").open(), FIRST_USE, "disk.gz") as reader:
        unpack_to(reader, "disk.gz", tmp_path / "work", FreeSpace(tmp_path, 0))
        assert reader.size == len(packed)


def test_too_little_room_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="do not fit into") as refused:
        unpack(tmp_path, gzip.compress(DISK), free=CHECK_EVERY_BYTES - 1)
    assert refused.value.reason == "space"
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_a_disk_that_fills_up_is_told_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(TooLarge, match="is full; free space there"):
        unpack(tmp_path, gzip.compress(DISK))
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_a_disk_that_writes_little_at_a_time_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: real(descriptor, data[:50_000], offset))
    unpack(tmp_path, gzip.compress(DISK))
    assert (tmp_path / "work").read_bytes() == DISK
