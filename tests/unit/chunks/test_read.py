from __future__ import annotations

import random
from collections import Counter

import pytest

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.frame import zstd
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import CACHED, DiskReader, open_disk
from phimage.chunks.write import DiskWriter, Written

CHUNK = 64 << 10
DATA = random.Random(1).randbytes(3 * CHUNK) + bytes(CHUNK) + random.Random(2).randbytes(6 * CHUNK + 7)


class Counting(MemoryStore):
    """Counts the reads, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.failure: StoreFailure | None = None

    def get(self, name: str) -> bytes:
        self.reads[name] += 1
        if self.failure is not None:
            raise self.failure
        return super().get(name)


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def written(store: Counting) -> Written:
    with DiskWriter(store, len(DATA), chunk_size=CHUNK) as writer:
        writer.write(DATA)
        return writer.finish({})


def test_small_reads_of_one_chunk_load_it_once(store: Counting, written: Written) -> None:
    reader = open_disk(store, written.digest)
    store.reads.clear()

    for at in range(0, CHUNK, 512):
        assert reader.read(at, 512) == DATA[at : at + 512]
        assert b"".join(reader.chunks(at, at + 512)) == DATA[at : at + 512]

    assert store.reads.total() == 1


def test_only_a_few_chunks_are_kept(store: Counting, written: Written) -> None:
    reader = open_disk(store, written.digest)
    for index in (0, 1, 2, 4, 5, 6, 7, 8):
        reader.read(index * CHUNK, 1)
    store.reads.clear()

    for index in (8, 7, 6, 5):
        reader.read(index * CHUNK + 5, 1)
    assert store.reads.total() == 0
    assert CACHED == 4
    reader.read(0, 1)
    assert store.reads.total() == 1


def test_holes_are_read_without_the_store(store: Counting, written: Written) -> None:
    reader = open_disk(store, written.digest)
    store.reads.clear()

    assert reader.read(3 * CHUNK, CHUNK) == bytes(CHUNK)
    assert zstd.decompress(reader.frame(3)) == bytes(CHUNK)
    assert reader.frame(3) is reader.frame(3)
    assert store.reads.total() == 0


def test_reads_outside_the_disk_are_refused(store: Counting, written: Written) -> None:
    reader = open_disk(store, written.digest)
    end = len(DATA)

    for offset, length in [(-1, 1), (0, end + 1), (end, 1), (end + 1, 0), (0, -1)]:
        with pytest.raises(ValueError, match="inside"):
            reader.read(offset, length)
    for start, stop in [(-1, 1), (0, end + 1), (2, 1)]:
        with pytest.raises(ValueError, match="inside"):
            reader.chunks(start, stop)
    for index in (-1, 11):
        with pytest.raises(IndexError):
            reader.chunk(index)
        with pytest.raises(IndexError):
            reader.frame(index)
    assert reader.read(end, 0) == b"".join(reader.chunks(end)) == b""


def test_a_store_that_is_away_for_a_moment_does_not_make_a_chunk_bad(store: Counting, written: Written) -> None:
    reader = open_disk(store, written.digest)

    store.failure = StoreFailure("get", "chunks", "unreachable", passing=True)
    with pytest.raises(StoreFailure):
        reader.chunk(0)
    assert reader.bad == 0
    store.failure = StoreFailure("get", "chunks", "input/output error")
    with pytest.raises(BadChunk) as raised:
        reader.chunk(0)
    assert raised.value.kind == "unreadable"
    assert reader.bad == 1


def test_only_a_little_is_read_ahead(store: Counting, written: Written) -> None:
    reader = DiskReader(store, written.digest, written.manifest)
    store.reads.clear()

    pieces = reader.chunks(max_ahead=2)
    next(pieces)
    assert store.reads.total() <= 2
    pieces.close()  # type: ignore[attr-defined]
    assert store.reads.total() <= 2
