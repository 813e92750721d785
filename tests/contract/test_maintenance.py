"""Looking after image bytes: what a sweep removes and what it leaves, what verifying names, what images cost."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from phimage.catalog.image_bytes import expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import head
from phimage.catalog.views import Catalog
from phimage.chunks.errors import Absent
from phimage.chunks.gc import Approve
from phimage.chunks.layout import FRAMES, ManifestDigest, chunk_name, frame_list_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.read import open_disk
from phimage.chunks.scrub import ScrubProgress
from phimage.chunks.store import Store
from phimage.chunks.uploads import leftovers
from phimage.errors import SetupError
from phimage.maintenance import gc
from phimage.maintenance.verify import ImageFinding, find_missing, stats
from phimage.maintenance.verify import verify as verify_images
from phimage.model.ids import ImageId, JobId
from phimage.model.image import State
from phimage.model.job import Job, JobState, Origin, new_job
from tests.backing_up import at_call, withdraw
from tests.conftest import both_databases, sqlite_first
from tests.contract import stores
from tests.publishing import shop as shops
from tests.publishing.shop import MIB, Shop, disk, image

dialect = sqlite_first

DAY = 24 * 3600.0
AUTHOR = replace(shops.AUTHOR, time=time.time() + 30 * DAY)
"""Changes what the store has had for long, whatever the day on which the tests run."""
LATER = AUTHOR.time + 30 * DAY
"""When the sweeps of these tests are: what a test put is out of its grace."""


s3, store_beside = stores.s3, stores.store_beside


@pytest.fixture
def shop(catalog: Catalog, store_beside: Store, tmp_path: Path) -> Shop:
    return Shop(catalog, store_beside, tmp_path / "work", author=AUTHOR)


def sweep(shop: Shop, *, now: float = LATER, dry_run: bool = False) -> gc.CollectedGarbage:
    """A sweep that may remove as much as it likes."""
    return swept_if(lambda planned: None, shop, now=now, dry_run=dry_run)


def sweep_confirmed(shop: Shop, confirmed: int | None, *, now: float = LATER) -> gc.CollectedGarbage:
    return swept_if(gc.refuse_large(confirmed), shop, now=now)


def swept_if(approve: Approve, shop: Shop, *, now: float = LATER, dry_run: bool = False) -> gc.CollectedGarbage:
    return gc.collect_garbage(
        shop.catalog,
        shop.store,
        shop.work,
        AUTHOR,
        grace_seconds=DAY,
        dry_run=dry_run,
        approve=approve,
        now=lambda: now,
    )


def publish(shop: Shop, file: Path, number: int = 1) -> ImageId:
    job = shop.begin(file, number)
    assert shop.work_once().error == ""
    return job.image


def waiting(shop: Shop, number: int, created: float) -> Job:
    """An upload that began at a time and has a part."""
    made = image(number)
    job = new_job(JobId(f"job-{number}"), made.id, Origin(size=3), created, reserved=3)
    with shop.catalog.change(AUTHOR) as change:
        IMAGES.put(change, made)
        expect_image_bytes(change, job)
    shop.put(job, b"abc")
    return job


def manifest_of(shop: Shop, id: ImageId) -> ManifestDigest:
    return shop.content(id).manifest


def chunks_of(shop: Shop, id: ImageId) -> list[str]:
    """The names of its chunks, in the order of the disk."""
    return [chunk_name(chunk) for _, chunk in load_manifest(shop.store, manifest_of(shop, id)).stored()]


def names(store: Store) -> set[str]:
    return {stored.name for stored in store.list()}


def snapshot(shop: Shop) -> object:
    with shop.catalog.database.read() as connection:
        revision = head(connection)
    return revision, names(shop.store), sorted(path.name for path in shop.work.iterdir())


def flip(store: Store, name: str) -> None:
    """A bit of an object is another one."""
    data = bytearray(store.get(name))
    data[len(data) // 2] ^= 1
    store.put(name, bytes(data))


# sweeping


def test_an_upload_that_nobody_goes_on_with_is_given_up_and_its_parts_are_removed(shop: Shop) -> None:
    old, young = waiting(shop, 1, LATER - 8 * DAY), waiting(shop, 2, LATER - 60)

    swept = sweep(shop)

    assert (swept.abandoned, swept.uploads) == (1, 1)
    assert (shop.job(old.id).state, shop.job(young.id).state) == (JobState.FAILED, JobState.WAITING)
    assert leftovers(shop.store) == {young.id}
    assert sweep(shop).abandoned == 0


def test_an_upload_that_is_complete_is_not_given_up_however_old(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))  # it began long ago and waits for a publisher
    swept = sweep(shop)
    assert (swept.abandoned, swept.uploads) == (0, 0)
    assert shop.work_once().error == ""
    assert shop.image(job.image).state is State.AVAILABLE


def test_parts_of_ended_uploads_are_removed(shop: Shop) -> None:
    job = waiting(shop, 1, LATER)
    withdraw(shop, job.image)
    assert leftovers(shop.store) == {job.id}
    assert sweep(shop).uploads == 1
    assert leftovers(shop.store) == set()


@both_databases
def test_what_no_image_needs_is_removed_after_its_grace_and_what_another_one_needs_stays(shop: Shop, tmp_path: Path) -> None:
    first = disk(tmp_path)
    other = tmp_path / "other.raw"
    other.write_bytes(first.read_bytes()[: 4 * MIB] + disk(tmp_path, seed=2).read_bytes()[4 * MIB :])
    gone, stays = publish(shop, first), publish(shop, other, 2)
    own = set(chunks_of(shop, gone)) - set(chunks_of(shop, stays))
    manifest = manifest_name(manifest_of(shop, gone))
    assert own
    assert set(chunks_of(shop, gone)) - own
    withdraw(shop, gone)

    within = sweep(shop, now=time.time()).store
    assert (within.removed_chunks, within.young) == (0, len(own) + 1)
    after = sweep(shop).store

    assert (after.removed_chunks, after.removed_manifests) == (len(own), 1)
    assert names(shop.store) & {*own, manifest} == set()
    assert shop.bytes_of(stays) == other.read_bytes()


def test_what_was_withdrawn_within_the_grace_stays_however_old_it_is(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    gone = publish(shop, original)
    manifest, chunks = manifest_of(shop, gone), chunks_of(shop, gone)
    withdraw(shop, gone)  # at AUTHOR.time, when the store has had its bytes for long

    within = sweep(shop, now=AUTHOR.time + DAY - 1).store

    assert (within.removed_chunks, within.removed_manifests, within.young) == (0, 0, len(chunks) + 1)
    assert b"".join(open_disk(shop.store, manifest).chunks()) == original.read_bytes()
    assert sweep(shop, now=AUTHOR.time + DAY + 1).store.removed_chunks == len(chunks)


def test_a_withdrawn_image_whose_manifest_is_damaged_keeps_no_collection_from_its_work(shop: Shop, tmp_path: Path) -> None:
    gone = publish(shop, disk(tmp_path))
    flip(shop.store, manifest_name(manifest_of(shop, gone)))
    withdraw(shop, gone)
    assert sweep(shop, now=AUTHOR.time + DAY - 1).store.removed_manifests == 1


def test_files_of_ended_work_and_old_fetches_are_removed(shop: Shop) -> None:
    under_way = waiting(shop, 1, LATER)
    ended = ["job-gone.file", "job-gone.raw", "old.fetch", "old.fetch.resume"]
    kept = [f"{under_way.id}.file", f"{under_way.id}.raw", "new.fetch", "new.fetch.resume", "notes.txt", "mine.raw"]
    for name in (*ended, *kept):
        (shop.work / name).write_bytes(b"x")
    os.utime(shop.work / "old.fetch", (LATER - 8 * DAY, LATER - 8 * DAY))
    for name in ("new.fetch", "new.fetch.resume"):
        os.utime(shop.work / name, (LATER, LATER))

    assert sweep(shop).work_files == 3

    assert sorted(path.name for path in shop.work.iterdir()) == sorted(kept)


def test_the_work_file_of_a_job_that_begins_meanwhile_stays(shop: Shop) -> None:
    """It begins after the sweep has read the jobs, while the store is listed for the second time."""
    lists = count(1)

    def begin_job() -> None:
        (shop.work / f"{waiting(shop, 1, LATER).id}.1.file").write_bytes(b"x")

    stored = shop.store
    shop.store = at_call(stored, lambda operation, _: operation == "list" and next(lists) == 2, begin_job)
    assert sweep(shop).work_files == 0
    assert [path.name for path in shop.work.iterdir()] == ["job-1.1.file"]


def test_a_work_file_that_goes_away_meanwhile_does_not_end_a_sweep(shop: Shop) -> None:
    for name in ("gone.fetch", "backup-gone.sqlite-journal"):
        (shop.work / name).symlink_to("nowhere")  # listed, and not there when it is looked at
    assert sweep(shop).work_files == 0


def test_the_database_copy_of_a_killed_backup_is_removed_after_a_week(shop: Shop) -> None:
    for name, age in (("backup-old.sqlite", 8 * DAY), ("backup-new.sqlite", 6 * DAY)):
        (shop.work / name).write_bytes(b"x")
        os.utime(shop.work / name, (LATER - age, LATER - age))
    assert sweep(shop).work_files == 1
    assert [path.name for path in shop.work.iterdir()] == ["backup-new.sqlite"]


def test_the_frame_list_of_a_disk_that_no_image_has_is_removed(shop: Shop, tmp_path: Path) -> None:
    gone, stays = publish(shop, disk(tmp_path)), publish(shop, disk(tmp_path, seed=2), 2)
    assert len(list(shop.store.list(FRAMES))) == 2
    withdraw(shop, gone)

    sweep(shop)

    assert [stored.name for stored in shop.store.list(FRAMES)] == [frame_list_name(manifest_of(shop, stays))]


def test_a_dry_run_says_the_same_and_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    waiting(shop, 3, LATER - 8 * DAY)
    withdraw(shop, waiting(shop, 4, LATER).image)
    withdraw(shop, publish(shop, disk(tmp_path)))
    publish(shop, disk(tmp_path, seed=2), 2)
    (shop.work / "job-gone.raw").write_bytes(b"x")
    before = snapshot(shop)

    said = sweep(shop, dry_run=True)
    assert snapshot(shop) == before
    done = sweep(shop)

    assert said.store.removed_chunks > 0
    assert (said.abandoned, said.uploads, said.work_files) == (1, 2, 1)
    assert replace(said, store=replace(said.store, dry_run=False)) == done
    assert snapshot(shop) != before


def test_a_removal_of_more_than_half_is_refused_until_its_number_is_given(shop: Shop, tmp_path: Path) -> None:
    waiting(shop, 4, LATER - 8 * DAY)
    withdraw(shop, publish(shop, disk(tmp_path)))
    withdraw(shop, publish(shop, disk(tmp_path, seed=2), 2))
    publish(shop, disk(tmp_path, seed=3), 3)
    before = snapshot(shop)
    planned = sweep(shop, dry_run=True).store
    assert planned.removed_bytes > planned.bytes / 2
    told = f"{planned.removed} of {planned.objects} chunks and manifests would be removed, .* `phimage store gc --remove"
    with pytest.raises(SetupError, match=f"{told} {planned.removed}`"):
        sweep_confirmed(shop, None)
    with pytest.raises(SetupError, match=f"{planned.removed} chunks and manifests would be removed, not 1: nothing"):
        sweep_confirmed(shop, 1)
    assert snapshot(shop) == before

    assert sweep_confirmed(shop, planned.removed).store.removed == planned.removed
    assert sweep_confirmed(shop, None).store.removed == 0


def test_a_removal_of_half_needs_no_number(shop: Shop, tmp_path: Path) -> None:
    withdraw(shop, publish(shop, disk(tmp_path)))
    publish(shop, disk(tmp_path, seed=2), 2)
    planned = sweep(shop, dry_run=True).store
    assert planned.objects == 2 * planned.removed
    publish(shop, disk(tmp_path, seed=3), 3)  # frames of two disks differ by a few bytes
    assert sweep_confirmed(shop, None).store.removed == planned.removed


def test_nothing_is_removed_when_no_image_needs_anything(shop: Shop, tmp_path: Path) -> None:
    """As with an empty database beside a full store."""
    withdraw(shop, publish(shop, disk(tmp_path)))
    before = snapshot(shop)

    with pytest.raises(SetupError, match=r"no image needs any of them: nothing was removed\. Check that"):
        sweep_confirmed(shop, None)

    assert snapshot(shop) == before
    assert sweep_confirmed(shop, None, now=time.time()).store.removed == 0  # all of it is young


def test_without_a_work_folder_there_is_nothing_in_it_to_remove(shop: Shop) -> None:
    shop.work.rmdir()
    assert sweep(shop) == sweep(shop)


# verifying


def verify(shop: Shop, *images: ImageId, quarantine: bool = False) -> tuple[list[ImageFinding], int]:
    """What is wrong, and how many bytes were verified."""
    told = list(verify_images(shop.catalog, shop.store, images, whole_disk=True, quarantine=quarantine, now=time.time() + 1))
    progress = [one for one in told if isinstance(one, ScrubProgress)]
    return [one for one in told if isinstance(one, ImageFinding)], progress[-1].bytes if progress else 0


def test_good_images_are_verified_and_shared_chunks_once(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    publish(shop, original)
    once = verify(shop)
    publish(shop, original, 2)
    assert once[0] == []
    assert once[1] > 0
    assert verify(shop) == once


def test_a_bad_chunk_is_named_with_every_image_that_it_hurts(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    hurt = [publish(shop, original), publish(shop, original, 2)]
    whole = publish(shop, disk(tmp_path, seed=2), 3)
    bad = next(name for name in chunks_of(shop, hurt[0]) if name not in chunks_of(shop, whole))
    flip(shop.store, bad)

    (found, *rest), _ = verify(shop)

    assert (found.finding.kind, found.finding.chunk, sorted(found.images)) == ("corrupt", bad.rpartition("/")[2], hurt)
    assert all(one.finding.kind == "disk" for one in rest)
    assert verify(shop, whole)[0] == []
    assert verify(shop, hurt[0])[0][0].finding == found.finding


def test_what_is_missing_is_named_too(shop: Shop, tmp_path: Path) -> None:
    one, other = publish(shop, disk(tmp_path)), publish(shop, disk(tmp_path, seed=2), 2)
    shop.store.delete(chunks_of(shop, one)[-1])
    shop.store.delete(manifest_name(manifest_of(shop, other)))
    found = {told.finding.kind: told.images for told in verify(shop)[0]}
    assert (found["missing"], found["manifest"]) == ((one,), (other,))


def test_what_images_need_and_the_store_lacks_is_found_without_reading_chunks(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    lacking = [publish(shop, original), publish(shop, original, 2)]
    other, whole = publish(shop, disk(tmp_path, seed=2), 3), publish(shop, disk(tmp_path, seed=3), 4)
    assert list(find_missing(shop.catalog.database, shop.store)) == []
    flip(shop.store, chunks_of(shop, whole)[0])
    lost = chunks_of(shop, lacking[0])[-1]
    shop.store.delete(lost)
    shop.store.delete(manifest_name(manifest_of(shop, other)))

    found = {told.finding.kind: told for told in find_missing(shop.catalog.database, shop.store)}

    assert (sorted(found["missing"].images), found["missing"].finding.chunk) == (lacking, lost.rpartition("/")[2])
    assert (found["manifest"].images, found["manifest"].finding.reason) == ((other,), "it is not in the store")
    withdraw(shop, other)
    assert {told.finding.kind for told in find_missing(shop.catalog.database, shop.store)} == {"missing"}


def test_a_bad_chunk_that_is_put_aside_is_mended_by_publishing_the_same_again(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    hurt = publish(shop, original)
    bad = chunks_of(shop, hurt)[0]
    flip(shop.store, bad)
    assert verify(shop, quarantine=True)[0] != []
    with pytest.raises(Absent):
        shop.store.get(bad)
    publish(shop, original, 2)
    assert verify(shop)[0] == []
    assert shop.bytes_of(hurt) == original.read_bytes()


def test_what_was_withdrawn_meanwhile_is_not_told(shop: Shop, tmp_path: Path) -> None:
    id = publish(shop, disk(tmp_path))
    shop.store.delete(chunks_of(shop, id)[-1])
    telling = verify_images(shop.catalog, shop.store, [], whole_disk=False, quarantine=False, now=time.time())
    assert isinstance(next(telling), ScrubProgress)
    withdraw(shop, id)
    assert [told for told in telling if isinstance(told, ImageFinding)] == []


def test_an_image_without_bytes_cannot_be_verified(shop: Shop, tmp_path: Path) -> None:
    there, pending = publish(shop, disk(tmp_path)), waiting(shop, 2, LATER).image
    for id in (pending, ImageId("pimg-cs-nobody")):
        with pytest.raises(SetupError, match=f"{id} has no bytes to verify"):
            verify(shop, there, id)


# measuring


def test_images_of_one_disk_cost_it_once(shop: Shop, tmp_path: Path) -> None:
    first, other = disk(tmp_path), tmp_path / "other.raw"
    other.write_bytes(first.read_bytes()[: 4 * MIB] + disk(tmp_path, seed=2).read_bytes()[4 * MIB :])
    same = [publish(shop, first), publish(shop, first, 2)]
    alike = publish(shop, other, 3)

    found, images = stats(shop.catalog, shop.store)

    assert {tuple(sorted(ids)) for ids in images.values()} == {tuple(same), (alike,)}
    assert (found.logical, found.unneeded) == (12 * MIB, 0)
    by_manifest = {one.manifest: one for one in found.images}
    cost = by_manifest[manifest_of(shop, same[0])]
    assert (cost.logical, cost.missing) == (6 * MIB, 0)
    assert cost.own > 0
    assert cost.shared == by_manifest[manifest_of(shop, alike)].shared > 0
    assert found.stored == sum(one.own for one in found.images) + cost.shared


def test_bytes_of_withdrawn_images_are_counted_apart_until_they_are_removed(shop: Shop, tmp_path: Path) -> None:
    withdraw(shop, publish(shop, disk(tmp_path)))
    found, images = stats(shop.catalog, shop.store)
    assert (images, found.stored, found.unneeded > 0) == ({}, 0, True)
    sweep(shop)
    assert stats(shop.catalog, shop.store)[0].unneeded == 0
