"""Packs: made once, verified, bounded, and never half there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from phimage.chunks.errors import BadChunk
from phimage.chunks.folder import FolderStore
from phimage.chunks.frame import zstd
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import Written
from phimage.delivery.app import Delivery
from phimage.delivery.frames import Frames, measure
from phimage.delivery.packs import RECENT_SECONDS, Packs
from phimage.model.ids import ImageId
from tests.delivering import IMAGE, Client, Keeper, chunk_at, content_of, delivery_of, disk_bytes, sha256_of, write_disk

ZST = f"/images/{IMAGE}.raw.zst"
PLENTY = 1 << 30


class Clock:
    """Time that stands still until it is told."""

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
def packs(store: FolderStore, folder: Path, clock: Clock) -> Packs:
    return Packs(store, folder, PLENTY, clock)


@pytest.fixture
def delivery(store: FolderStore, written: Written, packs: Packs) -> Iterator[Delivery]:
    found = delivery_of(store, Keeper(content_of(written)), packs)
    yield found
    found.close()


def frames_of(store: FolderStore, written: Written) -> Frames:
    return measure(open_disk(store, written.digest), store)


def another(store: FolderStore, chunks: int) -> Frames:
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
    assert (delivery.counters.packs_built, delivery.counters.packs_sent) == (1, 1)
    assert delivery.counters.bytes_sent == 2 * len(first.body)


def test_ranges_and_servers_that_send_no_files_get_a_stream(delivery: Delivery) -> None:
    whole = Client(delivery).ask(ZST, settle=True).body

    assert Client(delivery, files=True).ask(ZST, {"Range": "bytes=100-199"}).body == whole[100:200]
    assert Client(delivery).ask(ZST).body == whole
    assert Client(delivery, files=True).ask(ZST, method="HEAD").body == b""
    assert (delivery.counters.packs_built, delivery.counters.packs_sent) == (1, 0)


def test_a_pack_says_in_its_name_what_is_in_it(packs: Packs, store: FolderStore, written: Written, folder: Path) -> None:
    frames = frames_of(store, written)
    pack = packs.build(frames)

    assert pack is not None
    content = pack.path.read_bytes()
    assert names(folder) == [f"{written.digest}.{frames.mark}.{len(content)}.{sha256_of(content)}.zst"]
    assert packs.find(frames) == pack
    assert packs.build(frames) == pack


def test_a_bad_chunk_never_gets_into_a_pack(
    delivery: Delivery, packs: Packs, store: FolderStore, written: Written, folder: Path
) -> None:
    frames = frames_of(store, written)
    break_chunk(store, written, 7)

    with pytest.raises(BadChunk):
        packs.build(frames)
    assert names(folder) == []
    with capture_logs() as logs:
        assert not Client(delivery, files=True).ask(ZST, settle=True).whole
    assert {entry["index"] for entry in logs if entry["event"] == "chunk.bad"} == {7}
    assert delivery.counters.packs_built == 0
    assert names(folder) == []


def test_packs_that_were_asked_for_longest_ago_make_room(packs: Packs, store: FolderStore, folder: Path, clock: Clock) -> None:
    disks = [another(store, chunks) for chunks in (20, 21, 22)]
    small = Packs(store, folder, sum(frames.size for frames in disks) - 1, clock)
    for frames in disks[:2]:
        assert small.build(frames)
        clock.seconds += RECENT_SECONDS + 1
    assert small.find(disks[0])  # so the second one was not asked for longest
    clock.seconds += RECENT_SECONDS + 1

    assert small.build(disks[2])
    assert small.find(disks[0])
    assert small.find(disks[1]) is None
    assert small.find(disks[2])


def test_a_pack_that_was_just_asked_for_is_not_removed(packs: Packs, store: FolderStore, folder: Path, clock: Clock) -> None:
    disks = [another(store, chunks) for chunks in (20, 21)]
    small = Packs(store, folder, disks[1].size, clock)
    assert small.build(disks[0])
    clock.seconds += RECENT_SECONDS - 1

    assert small.build(disks[1]) is None
    assert small.find(disks[0])


def test_a_disk_that_is_larger_than_all_packs_may_be_gets_none(store: FolderStore, written: Written, folder: Path) -> None:
    frames = frames_of(store, written)

    for limit in (0, frames.size - 1):
        packs = Packs(store, folder, limit)
        assert not packs.wants(frames)
        assert packs.build(frames) is None
    assert not folder.exists()


def test_a_store_without_files_has_no_packs(folder: Path) -> None:
    store = MemoryStore()
    frames = measure(open_disk(store, write_disk(store, disk_bytes()).digest), store)

    packs = Packs(store, folder, PLENTY)
    assert packs.build(frames) is None
    assert packs.find(frames) is None
    assert not folder.exists()


def test_building_that_is_stopped_leaves_nothing(packs: Packs, store: FolderStore, written: Written, folder: Path) -> None:
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 5

    assert packs.build(frames_of(store, written), stopped) is None
    assert names(folder) == []


def test_only_one_process_builds_at_a_time(packs: Packs, store: FolderStore, written: Written, folder: Path) -> None:
    folder.mkdir()
    other = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)

    assert packs.build(frames_of(store, written)) is None
    os.close(other)
    assert packs.build(frames_of(store, written))


def test_what_a_killed_builder_left_is_removed_by_the_next(
    packs: Packs, store: FolderStore, written: Written, folder: Path
) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.read import open_disk
from phimage.delivery.frames import measure
from phimage.delivery.packs import Packs
store = FolderStore(Path(sys.argv[1]))
frames = measure(open_disk(store, ManifestDigest(sys.argv[3])), store)
seen = []
def stopped():
    seen.append(0)
    if len(seen) > 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
Packs(store, Path(sys.argv[2]), 1 << 30).build(frames, stopped)
"""
    killed = subprocess.run([sys.executable, "-c", program, store.path("x").parent, folder, written.digest], check=False)  # type: ignore[union-attr]
    assert killed.returncode == -9
    assert len(names(folder)) == 1
    assert packs.find(frames_of(store, written)) is None

    pack = packs.build(frames_of(store, written))
    assert pack is not None
    assert names(folder) == [pack.path.name]
    assert zstd.decompress(pack.path.read_bytes()) == disk_bytes()


def test_packs_of_images_that_are_gone_are_removed(packs: Packs, store: FolderStore, folder: Path) -> None:
    kept, gone = another(store, 20), another(store, 21)
    packs.build(kept)
    packs.build(gone)
    (folder / ".unfinished-of-a-dead-one").write_bytes(b"x")

    assert packs.keep_only({kept.manifest}) == 1
    assert packs.find(kept)
    assert packs.find(gone) is None
    assert len(names(folder)) == 1
    assert packs.keep_only(set()) == 1
    assert packs.keep_only(set()) == 0


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_pack_is_found_and_removed(packs: Packs, store: FolderStore, damage: str) -> None:
    good, bad = packs.build(another(store, 20)), packs.build(another(store, 21))
    assert good is not None
    assert bad is not None
    content = bytearray(bad.path.read_bytes())
    content[len(content) // 2] ^= 1
    bad.path.write_bytes(content if damage == "flipped" else content[:-1])

    assert dict(packs.verify()) == {good: True, bad: False}
    assert dict(packs.verify()) == {good: True}


def test_a_folder_without_packs_is_fine(packs: Packs) -> None:
    assert list(packs.verify()) == []
    assert packs.keep_only(set()) == 0


def test_a_chunk_that_went_bad_after_its_pack_was_made_does_not_hide(
    delivery: Delivery, store: FolderStore, written: Written
) -> None:
    """The pack is still whole and is sent; a range, which is read from the store, and a scrub tell of the chunk."""
    client = Client(delivery, files=True)
    client.ask(ZST, settle=True)
    break_chunk(store, written, 7)

    assert client.ask(ZST).file
    assert client.ask(f"/images/{ImageId(IMAGE)}.raw").whole is False
    assert delivery.counters.bad_chunks == 1
