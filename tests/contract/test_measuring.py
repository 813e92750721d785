"""A publisher measures the store when it has changed, and not more often than it may."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.layout import STATISTICS
from phimage.chunks.memory import MemoryStore
from phimage.chunks.stats import DiskStats, ImageStats, Measurement, StoreStats, keep_measurement, last_measurement, measure
from phimage.chunks.store import Store
from phimage.maintenance import measuring
from phimage.maintenance.measuring import is_due, keep_measuring, measure_store
from phimage.model.ids import ImageId, ManifestDigest, Revision
from tests.conftest import sqlite_first
from tests.contract import stores
from tests.e2e.process import wait_until
from tests.publishing.shop import AUTHOR, Shop, disk, image

dialect = sqlite_first
s3, store_beside = stores.s3, stores.store_beside

NOTHING = StoreStats((), 0, 0, 0, 0, 0)


def measured(seconds: float = 1.0, revision: int = 7, finished: float = 1000.0) -> Measurement:
    return Measurement(finished, seconds, Revision(revision), NOTHING, 0, 0, ())


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, 0.0, True),
        (measured(), 1059.0, False),
        (measured(), 1060.0, True),
        (measured(seconds=10.0), 1499.0, False),
        (measured(seconds=10.0), 1500.0, True),
        (measured(revision=8), 1060.0, False),
        (measured(revision=8), 4599.0, False),
        (measured(revision=8), 4600.0, True),
        (measured(seconds=100.0, revision=8), 4600.0, False),
        (measured(), 999.0, True),
    ],
)
def test_a_measurement_is_due_after_a_change_or_an_hour_and_takes_a_fiftieth_of_the_time(
    last: Measurement | None, now: float, due: bool
) -> None:
    assert is_due(last, Revision(8), now) == due


def test_what_is_kept_is_what_the_store_has(catalog: Catalog, store_beside: Store, tmp_path: Path) -> None:
    shop = Shop(catalog, store_beside, tmp_path / "work")
    ids = [shop.begin(disk(tmp_path, seed=seed), number).image for number, seed in enumerate((1, 2, 1), 1)]
    assert [shop.work_once().error for _ in ids] == ["", "", ""]
    assert last_measurement(store_beside) is None
    ticks = iter((10.0, 12.5))

    kept = measure_store(catalog, store_beside, lambda: 5000.0, lambda: next(ticks))

    assert last_measurement(store_beside) == kept
    assert (kept.finished, kept.seconds, kept.revision) == (5000.0, 2.5, catalog.head)
    assert (kept.disk_count, kept.image_count) == (2, 3)
    whole = measure(store_beside, {shop.content(id).manifest for id in ids})
    total = kept.total
    assert (total.logical, total.data, total.stored, total.shared) == (whole.logical, whole.data, whole.stored, whole.shared)
    assert {disk.stats for disk in kept.disks} == set(whole.images)
    by_images = {disk.images: disk.stats.manifest for disk in kept.disks}
    assert by_images == {
        (ids[0], ids[2]): shop.content(ids[0]).manifest,
        (ids[1],): shop.content(ids[1]).manifest,
    }
    distinct = total.chunks * (1 << 20)
    assert distinct <= total.data
    assert total.stored == total.shared + sum(disk.stats.own for disk in kept.disks)


def test_the_largest_disks_are_kept_of_many(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def some(number: int) -> ImageStats:
        return ImageStats(ManifestDigest(f"{number:064}"), 1, 1, number % 7, 0, 0)

    many = StoreStats(tuple(map(some, range(20))), 20, 20, 20, 0, 0)
    names = {one.manifest: [ImageId("pimg-a")] for one in many.images}
    monkeypatch.setattr(measuring, "measure", lambda store, manifests: many)
    monkeypatch.setattr(measuring, "live_manifests", lambda connection: names)
    monkeypatch.setattr(measuring, "MAX_DISKS", 5)
    kept = measure_store(catalog, MemoryStore(), lambda: 1.0, lambda: 1.0)
    assert [disk.stats.own for disk in kept.disks] == [6, 6, 5, 5, 5]
    assert (kept.disk_count, kept.total.images) == (20, ())


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff", b'{"finished":"x"}'])
def test_a_measurement_that_cannot_be_read_counts_as_none(damaged: bytes) -> None:
    store = MemoryStore()
    keep_measurement(store, measured())
    store.put(f"{STATISTICS}/latest", damaged)
    assert last_measurement(store) is None


def test_a_publisher_goes_on_after_a_measurement_that_failed(catalog: Catalog, tmp_path: Path) -> None:
    store, stop = MemoryStore(), threading.Event()
    shop = Shop(catalog, store, tmp_path / "work")
    job = shop.begin(disk(tmp_path))
    shop.work_once()
    manifest = f"manifests/{shop.content(job.image).manifest[:2]}/{shop.content(job.image).manifest}"
    data = store.get(manifest)
    store.delete(manifest)

    def run() -> None:
        keep_measuring(catalog, store, stop, pauses=(0.0, 0.01), failed=0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        store.put(manifest, data)
        wait_until(lambda: last_measurement(store) is not None, 60)
    finally:
        stop.set()
        thread.join()
    last = last_measurement(store)
    assert last is not None
    assert [disk.images for disk in last.disks] == [(job.image,)]
    assert all(isinstance(disk, DiskStats) for disk in last.disks)
    with catalog.change(AUTHOR) as change:
        withdraw_image_bytes(change, [job.image], "gone")
        IMAGES.withdraw(change, image())
    assert is_due(last, catalog.head, last.finished + 60)
