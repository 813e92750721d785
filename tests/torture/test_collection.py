"""Publishers, deleters, readers and collections concurrently, through the real workers, catalogue and maintenance (T7).

The clock runs fast: an hour of grace passes in a few seconds, and nobody's rule is broken. A model in memory says what must be
there.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.errors import BadChunk, BadManifest
from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import MIN_GRACE_SECONDS, ManifestDigest, chunk_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.read import open_disk
from phimage.errors import ServiceUnavailable
from phimage.maintenance import gc
from phimage.model.ids import ImageId
from phimage.model.job import Job, JobState
from phimage.publishing.worker import Pace
from tests.contract.stores import names_but_frame_lists
from tests.publishing.shop import AUTHOR, MIB, Shop, UploadExpired, disk
from tests.torture.installation import SECONDS
from tests.torture.length import lengths

Result = TypeVar("Result")

SPEED = MIN_GRACE_SECONDS / 4
"""Seconds of the fast clock in a real one. A writer then has half a second to register what it has put."""
PUBLISHERS, DELETERS, READERS = 8, 4, 2
BLOCKS = 40
"""So many different MiB that some are as old as the grace when they are used again."""

EARLY = replace(AUTHOR, time=1_500_000_000.0)
"""Dates revisions before the fast clock begins, so that a withdrawal keeps nothing for its grace."""


class World:
    """A shop with several workers, and in memory the expected content of its store: each live image's disk, as its SHA-256."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.began = time.time()
        self.catalog = catalog
        self.store = FolderStore(folder / "store", now=self.clock)
        pace = Pace(lease=60, look=0.02)
        self.shops = [Shop(catalog, self.store, folder / "work", pace, now=self.clock, author=EARLY) for _ in range(PUBLISHERS)]
        self.base = disk(folder, mebibytes=3).read_bytes()
        self.folder = folder
        self.lock = threading.Lock()
        self.live: dict[ImageId, str] = {}
        self.over = threading.Event()
        self.count: Counter[str] = Counter()

    def clock(self) -> float:
        """Fast, and always behind the file system's own clock, which stamps a file before the store does."""
        return self.began - 10**8 + (time.time() - self.began) * SPEED

    def publish(self, number: int) -> None:
        """Publish disks that share most of their MiB."""
        shop, chance, images = self.shops[number], random.Random(number), number
        while not self.over.is_set():
            images += PUBLISHERS
            blocks = [chance.randrange(BLOCKS) for _ in range(chance.randint(1, 3))]
            if chance.random() < 0.5:
                blocks = [chance.randrange(5)]  # a disk that others have as a whole
            data = self.base + b"".join(random.Random(block).randbytes(MIB) for block in blocks)
            file = self.folder / f"disk-{number}"
            file.write_bytes(data)
            try:
                job = shop.begin(file, images)
            except (ServiceUnavailable, UploadExpired):  # the database was busy; `check` takes away what came of it
                continue
            ended = self.ended(job)
            assert ended.state is JobState.DONE, ended.error
            with self.lock:
                self.live[job.image] = hashlib.sha256(data).hexdigest()
                self.count["published"] += 1

    def ended(self, job: Job) -> Job:
        """A job when some worker has ended it."""
        ends = time.monotonic() + SECONDS
        while (found := self.shops[0].job(job.id)).unfinished:
            assert time.monotonic() < ends
            time.sleep(0.02)
        return found

    def delete(self, seed: int) -> None:
        """Withdraw images, unless there are only few."""
        chance = random.Random(seed)
        while not self.over.is_set():
            with self.lock:
                known = sorted(self.live)
                found = chance.choice(known) if len(known) > 4 else None
                if found is not None:
                    del self.live[found]
            if found is not None:
                persist(partial(self.withdraw, found))
                self.count["deleted"] += 1
            time.sleep(chance.uniform(0, 0.2))

    def withdraw(self, id: ImageId) -> None:
        with self.catalog.change(EARLY) as change:
            withdraw_image_bytes(change, [id], "withdrawn")
            known = IMAGES.find(change.connection, id)
            assert known is not None
            IMAGES.withdraw(change, known)

    def sweep(self) -> None:
        """Run garbage collections with the min grace, again and again."""
        while not self.over.is_set():
            swept = persist(self.sweep_once)
            self.count["sweeps"] += 1
            self.count["removed"] += swept.store.removed_chunks
            time.sleep(0.1)

    def sweep_once(self, later: float = 0.0) -> gc.CollectedGarbage:
        return gc.collect_garbage(
            *(self.catalog, self.store, self.folder / "work", EARLY),
            grace_seconds=MIN_GRACE_SECONDS,
            approve=lambda planned: None,
            now=lambda: self.clock() + later,
        )

    def read(self, seed: int) -> None:
        """Check that images that are live before and after are readable and right."""
        chance = random.Random(seed)
        while not self.over.is_set():
            time.sleep(0.02)
            with self.lock:
                if not self.live:
                    continue
                id, digest = chance.choice(sorted(self.live.items()))
            try:
                found = self.digest_of(self.shops[0].content(id).manifest)
                assert found == digest
                self.count["read"] += 1
            except (AssertionError, BadChunk, BadManifest):
                with self.lock:
                    assert id not in self.live, f"{id} is live and cannot be read"

    def digest_of(self, manifest: ManifestDigest) -> str:
        whole = hashlib.sha256()
        for piece in open_disk(self.store, manifest).chunks(max_ahead=0):
            whole.update(piece)
        return whole.hexdigest()

    def run(self, seconds: float, *more: Callable[[], None]) -> None:
        """All at once, and `more` of them, until the time is over or one of them finds something wrong."""
        crowd: list[Callable[[], None]] = [self.sweep, *more]
        crowd += [partial(self.publish, number) for number in range(PUBLISHERS)]
        crowd += [partial(self.delete, number) for number in range(DELETERS)]
        crowd += [partial(self.read, number) for number in range(READERS)]
        with ThreadPoolExecutor(len(crowd) + PUBLISHERS) as pool:
            workers = [pool.submit(shop.worker.run) for shop in self.shops]
            running = [pool.submit(one) for one in crowd]
            ends = time.monotonic() + seconds
            while not any(task.done() for task in (*running, *workers)):
                if time.monotonic() > ends and (self.has_done_enough() or time.monotonic() > ends + SECONDS):
                    break
                time.sleep(0.05)
            self.over.set()
            try:
                for task in running:
                    task.result(SECONDS)
            finally:
                for shop in self.shops:
                    shop.stop.set()
            for task in workers:
                task.result(SECONDS)

    def has_done_enough(self) -> bool:
        """Whether it proves something."""
        return self.count["published"] > 8 and all(self.count[each] for each in ("read", "deleted", "sweeps", "removed"))

    def check(self) -> None:
        """Check that every live image is complete, and that much later nothing else is left."""
        needed, manifests = set(), set()
        for id, digest in self.live.items():
            manifest = self.shops[0].content(id).manifest
            assert self.digest_of(manifest) == digest
            manifests.add(manifest)
            chunks = load_manifest(self.store, manifest).stored()
            needed |= {manifest_name(manifest), *(chunk_name(chunk) for _, chunk in chunks)}
        with self.catalog.database.read() as connection:
            others = [known.id for known in IMAGES.live(connection) if known.id not in self.live]
        for other in others:
            self.withdraw(other)
        self.sweep_once(later=2 * MIN_GRACE_SECONDS)
        assert names_but_frame_lists(self.store, manifests) == needed
        assert list((self.folder / "work").iterdir()) == []


def persist(step: Callable[[], Result]) -> Result:
    """Do something until the database is not busy."""
    while True:
        try:
            return step()
        except ServiceUnavailable:
            continue


@lengths("seconds", 3, 120)
def test_publishers_deleters_and_collections_at_once_lose_nothing_and_leave_nothing(
    catalog: Catalog, tmp_path: Path, seconds: int
) -> None:
    world = World(catalog, tmp_path)
    world.run(seconds)
    assert world.has_done_enough(), world.count
    world.check()
