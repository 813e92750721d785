from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phimage.chunks.errors import StoreFailure, WrongDisk
from phimage.chunks.frame import pack
from phimage.chunks.layout import MAX_DISK_SIZE, ChunkDigest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import BATCH_OBJECTS, DiskWriter

CHUNK = 64 << 10
PIECES = st.lists(st.tuples(st.booleans(), st.integers(0, 3 * CHUNK)), min_size=1, max_size=8)


@settings(max_examples=30)
@given(PIECES, st.integers(0, 2**32))
def test_however_a_disk_is_handed_over_it_is_the_same_disk(pieces: list[tuple[bool, int]], seed: int) -> None:
    chance = random.Random(seed)
    parts = [bytes(length) if hole else chance.randbytes(length) for hole, length in pieces]
    data = b"".join(parts) or b"\0"
    store = MemoryStore()

    with DiskWriter(store, len(data), chunk_size=CHUNK, workers=1) as writer:
        for (hole, length), part in zip(pieces, parts, strict=True):
            if hole:
                writer.zeros(length)
            else:
                writer.write(memoryview(bytearray(part)))
        writer.write(data[writer.taken :])
        written = writer.finish({})

    assert b"".join(open_disk(store, written.digest).chunks(max_ahead=0)) == data
    assert written.manifest.sha256 == sha256(data).hexdigest()
    whole = MemoryStore()
    with DiskWriter(whole, len(data), chunk_size=CHUNK, workers=1) as writer:
        writer.write(data)
        assert writer.finish({}).digest == written.digest
    assert {name: held.data for name, held in whole.objects.items()} == {
        name: held.data for name, held in store.objects.items()
    }


class Broken(MemoryStore):
    """Fails from the n-th put on."""

    def __init__(self, works: int) -> None:
        super().__init__()
        self.works = works

    def put(self, name: str, data: bytes) -> None:
        self.works -= 1
        if self.works < 0:
            raise StoreFailure("put", name, "no space")
        super().put(name, data)


@pytest.mark.parametrize("works", range(6))
def test_a_failing_store_ends_the_disk_and_leaves_no_manifest(works: int) -> None:
    store = Broken(works)

    def write() -> None:
        with DiskWriter(store, 5 * CHUNK, chunk_size=CHUNK, workers=2) as writer:
            for _ in range(5):
                writer.write(random.randbytes(CHUNK))
            writer.finish({})

    with pytest.raises(StoreFailure, match="no space"):
        write()
    assert not list(store.list("manifests"))
    assert len(store.objects) <= works


def test_after_a_failure_nothing_more_is_taken() -> None:
    with DiskWriter(Broken(0), 400 * CHUNK, chunk_size=CHUNK, workers=1) as writer:
        with suppress(StoreFailure):
            for _ in range(400):
                writer.write(random.randbytes(CHUNK))
        assert writer.taken < 400 * CHUNK
        for _ in range(2):
            with pytest.raises(StoreFailure):
                writer.write(b"more")
        with pytest.raises(StoreFailure):
            writer.finish({})


class Slow(MemoryStore):
    """Blocks every put until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def put(self, name: str, data: bytes) -> None:
        self.may.wait(60)
        super().put(name, data)


def test_a_slow_store_holds_the_writer_back_instead_of_filling_the_memory() -> None:
    store = Slow()
    taken: list[int] = []

    def write() -> None:
        with DiskWriter(store, 400 * CHUNK, chunk_size=CHUNK, workers=2, progress=taken.append) as writer:
            for _ in range(400):
                writer.write(random.randbytes(CHUNK))
            writer.finish({})

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(taken) <= 2 * BATCH_OBJECTS + 4
    store.may.set()
    thread.join(60)
    assert taken == [CHUNK * (number + 1) for number in range(400)]
    assert len(store.objects) == 402


def test_zeros_cost_no_memory_and_are_hashed() -> None:
    store = MemoryStore()
    with DiskWriter(store, 300 << 20) as writer:
        writer.zeros((300 << 20) - 3)
        writer.write(b"end")
        written = writer.finish({})

    assert len(store.objects) == 3
    assert [run.first for run in written.manifest.runs] == [299]
    whole = sha256()
    for _ in range(300):
        whole.update(bytes(1 << 20) if _ < 299 else bytes((1 << 20) - 3) + b"end")
    assert written.manifest.sha256 == whole.hexdigest()


@pytest.mark.parametrize(("size", "chunk_size"), [(0, CHUNK), (-1, CHUNK), (MAX_DISK_SIZE + 1, CHUNK), (1, CHUNK + 1), (1, 1)])
def test_a_disk_of_an_impossible_size_is_not_begun(size: int, chunk_size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        DiskWriter(MemoryStore(), size, chunk_size=chunk_size)


def test_more_than_announced_is_refused_at_once_and_takes_nothing() -> None:
    with DiskWriter(MemoryStore(), 10, chunk_size=CHUNK) as writer:
        writer.write(b"12345")
        calls: list[Callable[[], None]] = [lambda: writer.write(b"123456"), lambda: writer.zeros(6), lambda: writer.zeros(-1)]
        for more in calls:
            with pytest.raises(WrongDisk):
                more()
        assert writer.taken == 5
        with pytest.raises(WrongDisk, match="5 of 10"):
            writer.finish({})


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
@pytest.mark.parametrize("announced", [False, True])
def test_a_disk_can_be_read_before_it_has_a_manifest(size: int, announced: bool) -> None:
    store, data = MemoryStore(), random.Random(size).randbytes(size)
    with DiskWriter(store, size if announced else None, chunk_size=CHUNK, workers=1) as writer:
        writer.write(data)
        reader = writer.settle()
        assert b"".join(reader.chunks(max_ahead=0)) == data
        assert (reader.manifest.size, reader.manifest.sha256) == (size, sha256(data).hexdigest())
        assert not list(store.list("manifests"))
        with pytest.raises(ValueError, match="has ended"):
            writer.write(b"more")
        written = writer.finish({"a": 1})

    assert (written.manifest.size, written.manifest.facts) == (size, {"a": 1})
    with pytest.raises(ValueError, match="finished or aborted"):
        writer.settle()


def test_a_disk_without_bytes_is_none() -> None:
    with DiskWriter(MemoryStore(), None) as writer, pytest.raises(WrongDisk, match="after 0 bytes"):
        writer.settle()


def test_only_a_disk_of_a_known_size_may_end_in_a_short_chunk_with_its_frame() -> None:
    raw = b"a short one"
    chunk = raw, ChunkDigest(sha256(raw).digest()), pack(raw)
    with DiskWriter(MemoryStore(), None) as writer, pytest.raises(WrongDisk, match="not the last one"):
        writer.chunk(*chunk)
    with DiskWriter(MemoryStore(), len(raw)) as writer:
        writer.chunk(*chunk)
        assert writer.finish({}).manifest.size == len(raw)
