"""Collections among writers, deleters and readers (T7), and one by one what their safety rests on.

Time is injected: an hour of grace is under a second. PHIMAGE_TORTURE_SECONDS makes the long form.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

import phimage.chunks.write
from phimage.chunks.errors import BadChunk, BadManifest, Lost, StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.chunks.gc import GRACE_SECONDS, collect_garbage
from phimage.chunks.gc_guard import renew
from phimage.chunks.gc_marker import GcMarker
from phimage.chunks.layout import (
    FRAMES,
    MIN_GRACE_SECONDS,
    ChunkDigest,
    ManifestDigest,
    chunk_name,
    frame_list_name,
    manifest_name,
)
from phimage.chunks.manifest import load_manifest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written
from tests.contract import stores

s3, kind, new_store, store = stores.s3, stores.kind, stores.new_store, stores.store

CHUNK = 64 << 10
GRACE = MIN_GRACE_SECONDS
RUN_SECONDS = float(os.environ.get("PHIMAGE_TORTURE_SECONDS", "3"))
SPEED = GRACE / 0.6
"""Injected seconds per real second: a grace takes 0.6 s."""

CHUNKS = 600
"""So many that one is often as old as the grace when it is used again."""

DISKS = 100
WRITERS = 8
DELETERS = 4


class TwoSteps(MemoryStore):
    """Checks and removes in two steps, like S3, with a delay in between."""

    settle_seconds = 0.03 * SPEED

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.clock = now
        self.last = threading.Lock()
        self.dawdle = 0.015

    def delete(self, name: str, before: float | None = None) -> bool:
        looked_at = self.clock()
        found = self.find(name)
        if before is not None and found is not None:
            if found.modified >= before:
                return False
            time.sleep(random.uniform(0, self.dawdle))
            with self.last:
                if self.clock() - looked_at > self.settle_seconds / 2:  # the client gave up
                    return False
                return super().delete(name)
        return super().delete(name)


class World:
    """A store, and in memory its expected content: each live image's digest and disk."""

    def __init__(self, make: Callable[[Callable[[], float]], Store]) -> None:
        self.store = make(self.clock)
        self.lock = threading.Lock()
        self.live: dict[ManifestDigest, bytes] = {}
        self.over = threading.Event()
        self.count: Counter[str] = Counter()

    def clock(self) -> float:
        return time.monotonic() * SPEED

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / SPEED)

    def read_live(self) -> list[ManifestDigest]:
        with self.lock:
            return list(self.live)

    def write(self, seed: int) -> None:
        """Publish disks made of a few shared chunks."""
        chance = random.Random(seed)
        while not self.over.is_set():
            blocks = [chance.randrange(CHUNKS) for _ in range(chance.randint(1, 5))]
            if chance.random() < 0.5:
                blocks = [chance.randrange(DISKS)]  # a disk that others have too
            disk = b"".join(block.to_bytes(2) * 500 + b"!" + bytes(CHUNK - 1001) for block in blocks)
            try:
                with DiskWriter(self.store, len(disk), chunk_size=CHUNK, workers=1, now=self.clock, sleep=self.sleep) as writer:
                    writer.write(disk)
                    written = writer.finish({})
            except Lost:
                self.count["lost"] += 1  # told; the publisher writes again
                continue
            time.sleep(chance.choice([0] * 20 + [0.02, 0.05, 0.1, 0.8]))
            self.register(written.digest, written.register_before, disk)

    def register(self, digest: ManifestDigest, before: float, disk: bytes) -> None:
        while True:
            with self.lock:
                if self.clock() < before:
                    self.live[digest] = disk
                    self.count["registered"] += 1
                    return
            try:
                _, before = renew(self.store, digest, now=self.clock, sleep=self.sleep)
                self.count["renewed"] += 1
            except BadManifest:
                self.count["too late"] += 1
                return

    def delete(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.over.is_set():
            with self.lock:
                if len(self.live) > 10:
                    del self.live[chance.choice(list(self.live))]
                    self.count["deleted"] += 1
            time.sleep(chance.uniform(0, 0.02))

    def collect_garbage(self) -> None:
        while not self.over.is_set():
            report = collect_garbage(self.store, self.read_live, now=self.clock(), grace_seconds=GRACE, sleep=self.sleep)
            self.count["collections"] += 1
            self.count["removed"] += report.removed_chunks
            time.sleep(0.01)

    def read(self, seed: int) -> None:
        """Check that an image that is live before and after is readable."""
        chance = random.Random(seed)
        while not self.over.is_set():
            time.sleep(0.005)
            with self.lock:
                if not self.live:
                    continue
                digest, disk = chance.choice(list(self.live.items()))
            try:
                assert b"".join(open_disk(self.store, digest).chunks(max_ahead=0)) == disk
                self.count["read"] += 1
            except (BadChunk, BadManifest):
                with self.lock:
                    assert digest not in self.live, "a live image cannot be read"

    def has_done_enough(self) -> bool:
        """Whether the run says something, which on a slow machine takes longer."""
        least = {"registered": 20, "deleted": 5, "collections": 5, "read": 5, "removed": 0}
        return all(self.count[name] > number for name, number in least.items())

    def run(self, seconds: float) -> None:
        tasks: list[Callable[[], None]] = [self.collect_garbage]
        tasks += [lambda seed=seed: self.write(seed) for seed in range(WRITERS)]  # type: ignore[misc]
        tasks += [lambda seed=seed: self.delete(seed) for seed in range(DELETERS)]  # type: ignore[misc]
        tasks += [lambda seed=seed: self.read(seed) for seed in range(2)]  # type: ignore[misc]
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(task) for task in tasks]
            ends = time.monotonic() + seconds
            while not any(task.done() for task in running):
                if time.monotonic() > (ends if self.has_done_enough() else ends + 60):
                    break
                time.sleep(0.02)
            self.over.set()
            for task in running:
                task.result(60)


@pytest.mark.more
@pytest.mark.parametrize("where", ["memory", "folder", "two steps"])
def test_collections_among_writers_and_deleters_lose_nothing_and_leave_nothing(where: str, tmp_path: Path) -> None:
    makes: dict[str, Callable[[Callable[[], float]], Store]] = {
        "memory": MemoryStore,
        "folder": lambda now: FolderStore(tmp_path / "store", now=now),
        "two steps": TwoSteps,
    }
    world = World(makes[where])

    world.run(RUN_SECONDS)

    for digest, disk in world.live.items():
        assert b"".join(open_disk(world.store, digest).chunks()) == disk
    assert world.has_done_enough(), world.count
    if isinstance(world.store, TwoSteps):
        world.store.dawdle = 0  # so that no removal is given up
    collect_garbage(world.store, world.read_live, now=world.clock() + 2 * GRACE, grace_seconds=GRACE, sleep=world.sleep)
    needed = {manifest_name(digest) for digest in world.live}
    needed |= {chunk_name(chunk) for digest in world.live for _, chunk in load_manifest(world.store, digest).stored()}
    assert stores.names_but_frame_lists(world.store, world.live) == needed


# one thing at a time, on every store


def write(
    store: Store, seed: int, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> Written:
    with DiskWriter(store, 3 * CHUNK, chunk_size=CHUNK, now=now, sleep=sleep) as writer:
        writer.write(b"shared by all".ljust(CHUNK, b"."))
        writer.write(random.Random(seed).randbytes(2 * CHUNK))
        return writer.finish({})


def later(seconds: float) -> float:
    return time.time() + seconds


def no_sleep(seconds: float) -> None:
    """Never sleeps: no other process uses these stores."""


def test_what_is_live_stays_and_the_rest_goes_after_its_grace(store: Store) -> None:
    kept, gone = write(store, 1), write(store, 2)

    young = collect_garbage(store, lambda: [kept.digest], now=time.time(), sleep=no_sleep)
    assert (young.removed_chunks, young.young, young.live_chunks, young.live_manifests) == (0, 3, 3, 1)
    tried = collect_garbage(store, lambda: [kept.digest], now=later(GRACE_SECONDS + 60), dry_run=True, sleep=no_sleep)
    assert len(list(store.list())) == 8
    done = collect_garbage(store, lambda: [kept.digest], now=later(GRACE_SECONDS + 60), sleep=no_sleep)

    assert (done.removed_chunks, done.removed_manifests, done.young) == (2, 1, 0)
    assert (tried.removed_chunks, tried.removed_manifests, tried.removed_bytes) == (2, 1, done.removed_bytes)
    assert b"".join(open_disk(store, kept.digest).chunks())[:6] == b"shared"
    with pytest.raises(BadManifest):
        open_disk(store, gone.digest)
    assert [stored.name for stored in store.list(FRAMES)] == [frame_list_name(kept.digest)]
    again = collect_garbage(store, lambda: [kept.digest], now=later(GRACE_SECONDS + 60), sleep=no_sleep)
    assert (again.removed_chunks, again.removed_manifests) == (0, 0)


def test_what_a_writer_found_old_stays_until_it_has_registered(store: Store) -> None:
    write(store, 1)
    if store.settle_seconds:
        time.sleep(1.1)  # S3 tells whole seconds
    begun = time.time()

    written = write(store, 1, now=lambda: time.time() + GRACE, sleep=no_sleep)  # to this writer, all of it is old

    assert written.new_chunks == 0
    assert all(stored.modified >= begun - 0.01 for stored in store.list())


def test_an_image_that_comes_back_between_the_two_looks_is_spared(store: Store) -> None:
    old = write(store, 1)
    looks: list[list[ManifestDigest]] = [[], [old.digest]]

    report = collect_garbage(store, lambda: looks.pop(0), now=later(GRACE_SECONDS + 60), sleep=no_sleep)

    assert looks == []
    assert (report.removed_chunks, report.live_manifests) == (0, 1)
    assert len(list(store.list())) == 5


def test_an_image_is_renewed_before_it_is_registered_again(store: Store) -> None:
    old = write(store, 1)
    if store.settle_seconds:
        time.sleep(1.1)
    begun = time.time()

    manifest, before = renew(store, old.digest, now=lambda: time.time() + GRACE, sleep=no_sleep)

    assert manifest == old.manifest
    assert before > begun + GRACE
    needed = [stored for stored in store.list() if not stored.name.startswith(FRAMES)]
    assert len(needed) == 4
    assert all(stored.modified >= begun - 0.01 for stored in needed)
    store.delete(chunk_name(next(iter(manifest.stored()))[1]))
    with pytest.raises(BadManifest, match="is not in the store"):
        renew(store, old.digest, sleep=no_sleep)
    store.delete(manifest_name(old.digest))
    with pytest.raises(BadManifest, match="is not in the store"):
        renew(store, old.digest, sleep=no_sleep)


def test_nothing_is_removed_when_it_is_not_known_what_is_needed(store: Store) -> None:
    write(store, 1)

    def away() -> list[ManifestDigest]:
        raise StoreFailure("read", "catalogue", "unreachable")

    with pytest.raises(StoreFailure):
        collect_garbage(store, away, now=later(GRACE_SECONDS + 60), sleep=no_sleep)
    with pytest.raises(BadManifest):
        collect_garbage(store, lambda: [ManifestDigest("0" * 64)], now=later(GRACE_SECONDS + 60), sleep=no_sleep)
    assert len(list(store.list())) == 5


def test_a_grace_that_writers_do_not_reckon_with_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="grace"):
        collect_garbage(store, list, now=later(0), grace_seconds=GRACE - 1, sleep=no_sleep)


def test_foreign_objects_are_left_alone(store: Store) -> None:
    for name in ("chunks/readme", "chunks/ab/" + "c" * 64, "manifests/" + "a" * 64, "quarantine/" + "a" * 64, "other/thing"):
        store.put(name, b"1")

    collect_garbage(store, list, now=later(GRACE_SECONDS + 60), sleep=no_sleep)

    assert len(list(store.list())) == 5


# stores that look and remove in two steps


class Clock:
    """A settable clock whose sleep takes no time and is recorded."""

    def __init__(self) -> None:
        self.now = 1e6
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_a_second_collection_keeps_away_while_one_is_under_way_and_takes_over_from_a_dead_one() -> None:
    clock = Clock()
    store = TwoSteps(clock)
    write(store, 1, clock, clock.sleep)
    clock.now += 2 * GRACE
    first = GcMarker(store, clock.now, clock.sleep)
    first.begin()

    def second() -> int:
        return collect_garbage(store, list, now=clock.now, grace_seconds=GRACE, sleep=clock.sleep).removed_chunks

    with pytest.raises(StoreFailure) as raised:
        second()
    assert raised.value.reason == "busy"
    assert len(list(store.list("chunks"))) == 3
    clock.now += GRACE / 2
    first.renew()
    clock.now += GRACE / 2 + 1
    with pytest.raises(StoreFailure):
        second()
    clock.now += GRACE  # the first one is dead
    assert second() == 3
    assert list(store.list()) == []
    assert clock.slept == [store.settle_seconds]


def test_a_writer_waits_for_removals_under_way_only_if_it_found_what_may_be_removed() -> None:
    clock = Clock()
    store = TwoSteps(clock)
    write(store, 1, clock, clock.sleep)
    GcMarker(store, clock.now, clock.sleep).begin()

    with DiskWriter(store, CHUNK, chunk_size=CHUNK, now=clock, sleep=clock.sleep) as writer:
        writer.write(b"new".ljust(CHUNK, b"!"))
        writer.finish({})
    assert clock.slept == []  # all of it is new
    clock.now += 0.9 * GRACE
    write(store, 1, clock, clock.sleep)
    assert clock.slept == [store.settle_seconds]


@pytest.mark.parametrize("what", ["chunk", "manifest"])
def test_a_writer_tells_that_something_went_away_which_it_had_found(what: str) -> None:
    clock = Clock()
    store = TwoSteps(clock)
    written = write(store, 1, clock, clock.sleep)
    chunk = chunk_name(next(iter(written.manifest.stored()))[1])
    name = chunk if what == "chunk" else manifest_name(written.digest)
    clock.now += 2 * GRACE
    GcMarker(store, clock.now, clock.sleep).begin()

    def vanish(seconds: float) -> None:
        del store.objects[name]

    with pytest.raises(Lost, match=name):
        write(store, 1, clock, vanish)

    assert write(store, 1, clock, clock.sleep).new_chunks == (what == "chunk")
    assert b"".join(open_disk(store, written.digest).chunks())[:6] == b"shared"


def test_a_writer_that_took_long_looks_after_all_its_chunks_once_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phimage.chunks.write, "BATCH_OBJECTS", 1)
    clock = Clock()
    clock.now = time.time()
    with DiskWriter(store, 2 * CHUNK, chunk_size=CHUNK, workers=1, now=clock, sleep=clock.sleep) as writer:
        writer.write(b"first".ljust(CHUNK, b"."))
        writer.write(b"second".ljust(CHUNK, b"."))
        while len(list(store.list("chunks"))) < 2:
            time.sleep(0.01)
        store.delete(chunk_name(ChunkDigest(sha256(b"first".ljust(CHUNK, b".")).digest())))
        clock.now += GRACE / 3
        with pytest.raises(Lost):
            writer.finish({})
    assert list(store.list("manifests")) == []
