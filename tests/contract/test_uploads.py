"""Parts of uploads, on every store."""

from __future__ import annotations

import errno
import os
import random
import stat
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.chunks.errors import BadUpload, StoreFailure
from phimage.chunks.folder import FolderStore, SystemCalls
from phimage.chunks.frame import pack
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.chunks.uploads import (
    PART,
    UploadPart,
    UploadSource,
    check_complete,
    check_frame,
    contiguous,
    leftovers,
    pack_part,
    parts,
    put_part,
    remove,
)
from phimage.model.ids import JobId
from phimage.sources.source import ImageSource
from tests.contract import stores

s3, kind, new_store, store = stores.s3, stores.kind, stores.new_store, stores.store

JOB = JobId("job-4k2xqz7a9m3d")
OTHER = JobId("job-4k2xqz7a9m3")  # its name begins the other's


def content(number: int) -> bytes:
    """A whole part that is quickly made and takes little room."""
    return random.Random(number).randbytes(1 << 10) * (PART >> 10)


def put(store: Store, number: int, raw: bytes, job: JobId = JOB) -> UploadPart:
    return put_part(store, job, number, pack_part(raw, sha256(raw).digest()))


def sizes(store: Store, job: JobId = JOB) -> list[tuple[int, int]]:
    return [(part.number, part.size) for part in parts(store, job)]


def read(source: ImageSource, offset: int = 0, piece: int = 3 << 20) -> bytes:
    with source.open(offset) as reader:
        pieces = list(iter(lambda: reader.read(piece), b""))
        assert reader.read(1) == b""
    assert all(len(found) == piece for found in pieces[:-1])
    return b"".join(pieces)


# putting


@stores.real_stores_first
def test_parts_in_any_order_are_the_file_in_its_order(store: Store) -> None:
    whole = content(0) + content(1) + content(2) + b"the end"
    for number in (2, 0, 3, 1):
        put(store, number, whole[number * PART : (number + 1) * PART])

    source = UploadSource(store, JOB, len(whole), "disk.raw")

    assert (source.name, source.size, source.version, source.repeatable) == ("disk.raw", len(whole), JOB, True)
    assert read(source) == whole
    for offset in (1, PART - 1, PART, PART + 1, 3 * PART, len(whole) - 1, len(whole), len(whole) + 5):
        assert read(source, offset) == whole[offset:]


def test_a_part_tells_what_it_is(store: Store) -> None:
    raw = b"part" * 1000

    part = put(store, 300, raw)

    assert (part.number, part.size, part.digest) == (300, 4000, sha256(raw).hexdigest())
    assert 0 < part.stored < 100
    assert parts(store, JOB) == [part]


def test_a_part_put_twice_is_there_once(store: Store) -> None:
    first = put(store, 0, b"same")

    assert put(store, 0, b"same") == first
    assert parts(store, JOB) == [first]


@pytest.mark.parametrize("again", [b"other", b"longer than before"])
def test_a_part_put_again_with_other_bytes_replaces_the_first(store: Store, again: bytes) -> None:
    put(store, 7, b"kept")
    put(store, 0, b"first")

    put(store, 0, again)

    assert sizes(store) == [(0, len(again)), (7, 4)]
    put(store, 0, b"first")
    assert sizes(store) == [(0, 5), (7, 4)]


def test_a_part_that_two_put_at_once_with_different_bytes_does_not_count_until_it_is_put_again() -> None:
    store = MemoryStore()
    put(store, 0, b"one")
    [(name, held)] = store.objects.items()

    put(store, 0, b"another")
    store.objects[name] = held  # put by somebody who had looked for others before that

    assert len(store.objects) == 2
    assert parts(store, JOB) == []
    put(store, 0, b"another")
    assert sizes(store) == [(0, 7)]


def test_many_parts_at_once_are_all_there(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(store, number, b"%d" % number), range(40)))

    assert [number for number, _ in sizes(store)] == list(range(40))


def test_uploads_do_not_mix(store: Store) -> None:
    put(store, 0, b"mine")
    put(store, 0, b"theirs", OTHER)
    store.put(f"uploads/{JOB}/0000/readme", b"")
    store.put("chunks/ab/object", b"")

    assert leftovers(store) == {JOB, OTHER}
    remove(store, JOB)
    remove(store, JOB)

    assert (sizes(store), sizes(store, OTHER)) == ([], [(0, 6)])
    assert leftovers(store) == {OTHER}
    assert store.get("chunks/ab/object") == b""


# what is whole


def told(found: list[tuple[int, int]], size: int) -> str:
    with pytest.raises(BadUpload) as raised:
        check_complete(JOB, [UploadPart(number, length, "0" * 64, 1) for number, length in found], size)
    return raised.value.reason.partition(", for a file")[0]


def test_what_is_missing_short_or_too_many_is_named() -> None:
    assert told([], 1) == "parts missing: 0"
    assert told([(1, PART), (3, 5)], 3 * PART + 5) == "parts missing: 0, 2"
    assert told([(0, PART), (1, 5)], PART) == "parts too many: 1"
    assert told([(0, PART - 1), (1, 5)], PART + 5) == "parts of a wrong size: 0"
    assert told([(0, PART), (1, 4)], PART + 5) == "parts of a wrong size: 1"
    assert told([(0, PART), (1, PART)], PART + 5) == "parts of a wrong size: 1"
    assert told([(0, PART), (9, 1)], 2 * PART) == "parts missing: 1; too many: 9"
    assert told([], 100 * PART) == "parts missing: 0, 1, 2, 3, 4 and 95 more"
    check_complete(JOB, [UploadPart(1, 5, "", 1), UploadPart(0, PART, "", 1)], PART + 5)
    check_complete(JOB, [UploadPart(0, PART, "", 1)], PART)


def test_what_is_there_without_a_gap_is_counted() -> None:
    def counted(*found: tuple[int, int]) -> int:
        return contiguous([UploadPart(number, size, "", 1) for number, size in found])

    assert counted() == 0
    assert counted((1, PART)) == 0
    assert counted((0, PART), (2, PART)) == PART
    assert counted((0, PART), (1, 5)) == PART + 5
    assert counted((0, 5), (1, PART)) == 5


def test_a_source_is_not_made_of_half_an_upload(store: Store) -> None:
    put(store, 1, b"end")

    with pytest.raises(BadUpload, match="missing: 0"):
        UploadSource(store, JOB, PART + 3)


# reading


def test_a_part_that_went_bad_or_away_is_named_and_never_handed_out_whole(store: Store) -> None:
    whole = content(0) + content(1) + b"end"
    for number in range(3):
        put(store, number, whole[number * PART : (number + 1) * PART])
    source = UploadSource(store, JOB, len(whole))
    [name] = [stored.name for stored in store.list("uploads") if "/00000001-" in stored.name]
    store.put(name, pack(content(5)))  # a good frame of other bytes

    with source.open() as reader:
        assert reader.read(PART) == whole[:PART]
        with pytest.raises(BadUpload, match="part 1 is damaged"):
            reader.read(PART)
        with pytest.raises(ValueError, match="failed before"):  # and not an end that looks good
            reader.read(1)
    with source.open(2 * PART - 1) as reader, pytest.raises(BadUpload, match="part 1 is damaged"):
        reader.read(1)
    store.delete(name)
    with source.open(PART) as reader, pytest.raises(BadUpload, match="part 1 was removed"):
        reader.read(1)
    assert read(source, 2 * PART) == b"end"


def test_a_closed_reader_gives_nothing(store: Store) -> None:
    put(store, 0, b"bytes")
    reader = UploadSource(store, JOB, 5).open()
    assert reader.read(2) == b"by"

    reader.close()
    reader.close()

    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_large_upload_is_read_in_little_memory(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    for number in range(8):
        put(store, number, content(number))
    source = UploadSource(store, JOB, 8 * PART)

    tracemalloc.start()
    try:
        with source.open() as reader:
            while reader.read(1 << 20):
                pass
        _, limit = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert limit < 3 * PART  # one is read and one waits, both compressed


# disks that fail


def test_a_part_is_durable_when_it_is_told(tmp_path: Path) -> None:
    said: list[str] = []

    def fsync(file: int) -> None:
        os.fsync(file)
        said.append(f"sync {'folder' if stat.S_ISDIR(os.fstat(file).st_mode) else 'file'}")

    def rename(source: Path, target: Path) -> None:
        source.replace(target)
        said.append("rename")

    store = FolderStore(tmp_path / "store", calls=SystemCalls(fsync=fsync, rename=rename))
    put(store, 0, b"makes the folders")
    said.clear()

    put(store, 1, b"part")

    assert said == ["sync file", "rename", "sync folder"]


class Full:
    """System calls of which one fails from now on, when there is an error."""

    def __init__(self, call: str) -> None:
        self.error = 0
        real = SystemCalls()
        self.calls = replace(real, **{call: self._failing(getattr(real, call))})

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any) -> Any:
            if self.error:
                raise OSError(self.error, os.strerror(self.error))
            return call(*arguments)

        return made


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_a_disk_that_fails_leaves_no_part_and_the_others_as_they_were(tmp_path: Path, call: str, error: int) -> None:
    full = Full(call)
    store = FolderStore(tmp_path / "store", calls=full.calls)
    put(store, 0, b"kept")
    full.error = error

    with pytest.raises(StoreFailure) as raised:
        put(store, 1, b"part")

    assert raised.value.reason == ("no space" if error == errno.ENOSPC else "input/output error")
    assert sizes(store) == [(0, 4)]
    assert not any((tmp_path / "store" / ".tmp").iterdir())
    full.error = 0
    put(store, 1, b"part")
    assert sizes(store) == [(0, 4), (1, 4)]


def test_a_frame_of_a_client_is_kept_as_it_is(store: Store) -> None:
    raw = b"by the client " * 5000
    frame = pack(raw, 9)

    part = put_part(store, JOB, 0, check_frame(frame))

    assert (part.size, part.digest, part.stored) == (len(raw), sha256(raw).hexdigest(), len(frame))
    assert [store.get(stored.name) for stored in store.list("uploads")] == [frame]
    assert read(UploadSource(store, JOB, len(raw))) == raw
