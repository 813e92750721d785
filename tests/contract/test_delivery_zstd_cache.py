"""The zstd cache: files are built once, verified, bounded, and never half there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.chunks.errors import BadChunk
from phimage.chunks.folder import FolderStore
from phimage.chunks.frame import zstd
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import Written
from phimage.delivery.app import Delivery
from phimage.delivery.zstd_cache import RECENT_SECONDS, ZstdCache
from phimage.delivery.zstd_disk import ZstdDisk, measure
from phimage.model.ids import ImageId
from tests.delivering import (
    IMAGE,
    Client,
    FakeAuthorizer,
    chunk_at,
    content_of,
    delivery_of,
    disk_bytes,
    logged,
    sha256_of,
    write_disk,
)

ZST = f"/images/{IMAGE}.raw.zst"
PLENTY = 1 << 30


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1_795_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packs"


@pytest.fixture
def written(store: FolderStore) -> Written:
    return write_disk(store, disk_bytes())


@pytest.fixture
def cache(store: FolderStore, folder: Path, clock: Clock) -> ZstdCache:
    return ZstdCache(store, folder, PLENTY, clock)


@pytest.fixture
def delivery(store: FolderStore, written: Written, cache: ZstdCache) -> Iterator[Delivery]:
    found = delivery_of(store, FakeAuthorizer(content_of(written)), cache)
    yield found
    found.close()


def frames_of(store: FolderStore, written: Written) -> ZstdDisk:
    return measure(open_disk(store, written.digest), store)


def another(store: FolderStore, chunks: int) -> ZstdDisk:
    return frames_of(store, write_disk(store, disk_bytes(chunks)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def break_chunk(store: FolderStore, written: Written, index: int) -> None:
    digest = chunk_at(written, index)
    store.put(f"chunks/{digest[:2]}/{digest}", b"not a frame")


def test_the_first_reader_gets_a_stream_and_the_next_one_a_file(delivery: Delivery) -> None:
    client = Client(delivery, files=True)

    first = client.ask(ZST, settle=True)
    second = client.ask(ZST)

    assert not first.file
    assert second.file
    assert first.body == second.body
    assert zstd.decompress(second.body) == disk_bytes()
    assert first.headers["etag"] == second.headers["etag"]
    assert second.headers["content-length"] == str(len(second.body))
    assert (delivery.counters.cached_files_built, delivery.counters.cached_files_sent) == (1, 1)
    assert delivery.counters.bytes_sent == 2 * len(first.body)


def test_ranges_and_servers_that_send_no_files_get_a_stream(delivery: Delivery) -> None:
    whole = Client(delivery).ask(ZST, settle=True).body

    assert Client(delivery, files=True).ask(ZST, {"Range": "bytes=100-199"}).body == whole[100:200]
    assert Client(delivery).ask(ZST).body == whole
    assert Client(delivery, files=True).ask(ZST, method="HEAD").body == b""
    assert (delivery.counters.cached_files_built, delivery.counters.cached_files_sent) == (1, 0)


def test_the_name_of_a_cached_file_states_its_content(
    cache: ZstdCache, store: FolderStore, written: Written, folder: Path
) -> None:
    frames = frames_of(store, written)
    file = cache.build(frames)

    assert file is not None
    content = file.path.read_bytes()
    assert names(folder) == [f"{written.digest}.{frames.mark}.{len(content)}.{sha256_of(content)}.zst"]
    assert cache.find(frames) == file
    assert cache.build(frames) == file


def test_a_bad_chunk_never_gets_into_a_cached_file(
    delivery: Delivery,
    cache: ZstdCache,
    store: FolderStore,
    written: Written,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = frames_of(store, written)
    break_chunk(store, written, 7)

    with pytest.raises(BadChunk):
        cache.build(frames)
    assert names(folder) == []
    assert not Client(delivery, files=True).ask(ZST, settle=True).whole
    assert {entry["index"] for entry in logged(capsys) if entry["event"] == "chunk.bad"} == {7}
    assert delivery.counters.cached_files_built == 0
    assert names(folder) == []


def test_the_least_recently_used_files_are_evicted(cache: ZstdCache, store: FolderStore, folder: Path, clock: Clock) -> None:
    disks = [another(store, chunks) for chunks in (20, 21, 22)]
    small = ZstdCache(store, folder, sum(frames.size for frames in disks) - 1, clock)
    for frames in disks[:2]:
        assert small.build(frames)
        clock.seconds += RECENT_SECONDS + 1
    assert small.find(disks[0])  # so the second one is the least recently used
    clock.seconds += RECENT_SECONDS + 1

    assert small.build(disks[2])
    assert small.find(disks[0])
    assert small.find(disks[1]) is None
    assert small.find(disks[2])


def test_a_file_that_was_just_used_is_not_evicted(cache: ZstdCache, store: FolderStore, folder: Path, clock: Clock) -> None:
    disks = [another(store, chunks) for chunks in (20, 21)]
    small = ZstdCache(store, folder, disks[1].size, clock)
    assert small.build(disks[0])
    clock.seconds += RECENT_SECONDS - 1

    assert small.build(disks[1]) is None
    assert small.find(disks[0])


def test_a_disk_that_is_larger_than_the_cache_is_not_cached(store: FolderStore, written: Written, folder: Path) -> None:
    frames = frames_of(store, written)

    for limit in (0, frames.size - 1):
        cache = ZstdCache(store, folder, limit)
        assert not cache.accepts(frames)
        assert cache.build(frames) is None
    assert not folder.exists()


def test_a_store_without_files_caches_nothing(folder: Path) -> None:
    store = MemoryStore()
    frames = measure(open_disk(store, write_disk(store, disk_bytes()).digest), store)

    cache = ZstdCache(store, folder, PLENTY)
    assert cache.build(frames) is None
    assert cache.find(frames) is None
    assert not folder.exists()


def test_building_that_is_stopped_leaves_nothing(cache: ZstdCache, store: FolderStore, written: Written, folder: Path) -> None:
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 5

    assert cache.build(frames_of(store, written), stopped) is None
    assert names(folder) == []


def test_only_one_process_builds_at_a_time(cache: ZstdCache, store: FolderStore, written: Written, folder: Path) -> None:
    folder.mkdir()
    other = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)

    assert cache.build(frames_of(store, written)) is None
    os.close(other)
    assert cache.build(frames_of(store, written))


def test_what_a_killed_builder_left_is_removed_by_the_next(
    cache: ZstdCache, store: FolderStore, written: Written, folder: Path
) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.read import open_disk
from phimage.delivery.zstd_disk import measure
from phimage.delivery.zstd_cache import ZstdCache
store = FolderStore(Path(sys.argv[1]))
frames = measure(open_disk(store, ManifestDigest(sys.argv[3])), store)
seen = []
def stopped():
    seen.append(0)
    if len(seen) > 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
ZstdCache(store, Path(sys.argv[2]), 1 << 30).build(frames, stopped)
"""
    killed = subprocess.run([sys.executable, "-c", program, store.path("x").parent, folder, written.digest], check=False)  # type: ignore[union-attr]
    assert killed.returncode == -9
    assert len(names(folder)) == 1
    assert cache.find(frames_of(store, written)) is None

    file = cache.build(frames_of(store, written))
    assert file is not None
    assert names(folder) == [file.path.name]
    assert zstd.decompress(file.path.read_bytes()) == disk_bytes()


def test_files_of_images_that_are_gone_are_removed(cache: ZstdCache, store: FolderStore, folder: Path) -> None:
    kept, gone = another(store, 20), another(store, 21)
    cache.build(kept)
    cache.build(gone)
    (folder / ".unfinished-of-a-dead-one").write_bytes(b"x")

    assert cache.keep_only({kept.manifest}) == 1
    assert cache.find(kept)
    assert cache.find(gone) is None
    assert len(names(folder)) == 1
    assert cache.keep_only(set()) == 1
    assert cache.keep_only(set()) == 0


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_cached_file_is_found_and_removed(cache: ZstdCache, store: FolderStore, damage: str) -> None:
    good, bad = cache.build(another(store, 20)), cache.build(another(store, 21))
    assert good is not None
    assert bad is not None
    content = bytearray(bad.path.read_bytes())
    content[len(content) // 2] ^= 1
    bad.path.write_bytes(content if damage == "flipped" else content[:-1])

    assert dict(cache.verify()) == {good: True, bad: False}
    assert dict(cache.verify()) == {good: True}


def test_a_folder_without_files_is_fine(cache: ZstdCache) -> None:
    assert list(cache.verify()) == []
    assert cache.keep_only(set()) == 0


def test_a_chunk_that_went_bad_after_its_cached_file_was_made_does_not_hide(
    delivery: Delivery, store: FolderStore, written: Written
) -> None:
    """The cached file is still whole and is sent; reading the raw disk from the store, or a scrub, finds the chunk."""
    client = Client(delivery, files=True)
    client.ask(ZST, settle=True)
    break_chunk(store, written, 7)

    assert client.ask(ZST).file
    assert client.ask(f"/images/{ImageId(IMAGE)}.raw").whole is False
    assert delivery.counters.bad_chunks == 1
