"""The outcome of a job: an image with all of its bytes, or no bytes and a reason."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from phimage.catalog import jobs, tables
from phimage.catalog.image_bytes import QUOTAS, give_up, left_of, reserve, use_of, withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.decorators import Operation, Result, StoreDecorator
from phimage.chunks.errors import StoreFailure
from phimage.chunks.gc import GRACE_SECONDS, collect_garbage
from phimage.chunks.layout import MIN_GRACE_SECONDS
from phimage.chunks.store import Store
from phimage.model.ids import ImageId, JobId, ProjectId
from phimage.model.image import State
from phimage.model.image_bytes import Quota
from phimage.model.job import JobState
from phimage.publishing.worker import Pace, Worker
from tests.conftest import Reopen, both_databases
from tests.e2e.process import wait_until
from tests.publishing.shop import AUTHOR, MIB, Shop, as_qcow2, disk, image, sha256_of


@both_databases
def test_an_uploaded_disk_becomes_an_available_image_with_exactly_its_bytes(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    job = shop.begin(raw)
    assert shop.work_once().state is JobState.DONE
    made, content = shop.image(job.image), shop.content(job.image)
    assert (made.state, made.size) == (State.AVAILABLE, 1)
    assert (content.sha256, content.size, content.format) == (sha256_of(raw), 6 * MIB, "raw")
    assert (content.source_digest, content.digest_origin) == (f"sha256:{sha256_of(raw)}", "as given")
    assert shop.bytes_of(job.image) == raw.read_bytes()
    assert content.facts.table is not None
    assert content.facts.table.type == "mbr"


def test_every_way_to_write_a_disk_gives_the_same_disk_and_the_same_manifest(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    packed = tmp_path / "disk.raw.gz"
    packed.write_bytes(gzip.compress(raw.read_bytes(), 1))
    files = [raw, as_qcow2(raw), packed]
    ids = [shop.begin(file, number).image for number, file in enumerate(files, 1)]
    assert [shop.work_once().error for _ in files] == ["", "", ""]
    assert {shop.content(id).sha256 for id in ids} == {sha256_of(raw)}
    assert len({shop.content(id).manifest for id in ids}) == 1


@pytest.mark.parametrize(
    ("digest", "format"),
    [
        ("sha256:" + "1" * 64, ""),
        ("sha512:" + "1" * 128, ""),
        ("sha256:" + "1" * 64, "qcow2"),
    ],  # a reason to refuse comes later
)
def test_an_original_with_another_digest_is_no_image_and_leaves_only_garbage(
    shop: Shop, tmp_path: Path, digest: str, format: str
) -> None:
    raw = disk(tmp_path)
    job = shop.begin(raw, digest=digest, format=format)
    ended = shop.work_once()
    assert ended.state is JobState.FAILED
    assert f"expected was {digest}" in ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE
    assert shop.content(job.image).failure == ended.error
    assert not shop.content(job.image).stored
    assert {stored.name.partition("/")[0] for stored in shop.store.list()} <= {"chunks"}
    collect_garbage(shop.store, list, now=time.time() + 2 * GRACE_SECONDS)
    assert list(shop.store.list()) == []
    assert list(shop.work.iterdir()) == []


def test_parts_that_are_not_what_their_sender_sent_are_refused(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path), digest="", sent="sha256:" + "2" * 64)
    ended = shop.work_once()
    assert ended.state is JobState.FAILED
    assert "declared by its sender" in ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE


def test_without_a_digest_the_one_that_is_found_is_recorded(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    job = shop.begin(raw, digest="")
    shop.work_once()
    content = shop.content(job.image)
    assert (content.source_digest, content.digest_origin) == (f"sha256:{sha256_of(raw)}", "trusted on first use")


def test_a_disk_that_names_another_file_is_refused_with_the_finding(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    backing = as_qcow2(raw, "-B", str(raw), "-F", "raw")
    job = shop.begin(backing)
    assert shop.work_once().error.startswith("qcow2.backing-file: ")
    assert shop.image(job.image).state is State.UNAVAILABLE


def test_what_may_be_overridden_is_refused_with_the_way_to_do_it_and_taken_with_it(shop: Shop, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.raw"
    tiny.write_bytes(b"\0" * 511 + b"\x01" + b"\0" * 65024)
    job = shop.begin(tiny)
    assert "--override body.tiny --override disk.unknown" in shop.work_once().error
    assert shop.image(job.image).state is State.UNAVAILABLE
    shop.begin(tiny, 2, overrides=("body.tiny",))
    assert "--override disk.unknown" in shop.work_once().error
    again = shop.begin(tiny, 3, overrides=("body.tiny", "disk.unknown"))
    assert shop.work_once().state is JobState.DONE
    assert shop.content(again.image).overrides == ("body.tiny", "disk.unknown")


def test_a_disk_with_nothing_on_it_is_refused_in_whatever_format_it_comes(shop: Shop, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.raw"
    nothing.write_bytes(bytes(2 * MIB))
    for number, file in enumerate((nothing, as_qcow2(nothing)), 1):
        shop.begin(file, number)
        assert shop.work_once().error.startswith("disk.unknown: ")


def test_a_stated_format_that_is_not_the_found_one_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.begin(as_qcow2(disk(tmp_path)), format="raw")
    assert "stated.mismatch" in shop.work_once().error


def test_a_disk_larger_than_it_was_announced_is_refused(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    with raw.open("r+b") as file:
        file.truncate(2 << 30)
    large = as_qcow2(raw)
    job = shop.begin(large, made=image(1, size=1))
    assert "needs 2 GB" in shop.work_once().error
    assert shop.image(job.image).state is State.UNAVAILABLE


def test_an_odd_size_is_filled_up_with_zeros_to_whole_sectors(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    with raw.open("ab") as file:
        file.write(b"end")
    job = shop.begin(raw)
    assert shop.work_once().state is JobState.DONE
    assert shop.bytes_of(job.image) == raw.read_bytes() + bytes(509)


def test_an_image_that_was_withdrawn_meanwhile_stays_gone(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    claimed = jobs.claim(shop.catalog.database, "worker", 2_000_000_000.0, 5)
    assert claimed is not None
    with shop.catalog.change(AUTHOR) as change:
        withdraw_image_bytes(change, [job.image], "withdrawn")
        IMAGES.withdraw(change, image(1))
    revision = shop.catalog.head
    shop.worker.work(claimed)
    assert shop.job(job.id).error == "withdrawn"
    assert shop.catalog.head == revision


class Happening(StoreDecorator):
    """Lets something happen before the first object of a folder is put."""

    def __init__(self, store: Store, folder: str, happens: Callable[[], None]) -> None:
        super().__init__(store, lambda operation, sent, call: call())
        self._folder = folder
        self._happens: Callable[[], None] | None = happens

    def put(self, name: str, data: bytes) -> None:
        self._look_at(name)
        super().put(name, data)

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        self._look_at(objects[0][0])
        super().put_all(objects)

    def _look_at(self, name: str) -> None:
        happens = self._happens
        if happens is not None and name.startswith(self._folder):
            self._happens = None
            happens()


@both_databases
@pytest.mark.parametrize("folder", ["chunks", "manifests"])
def test_a_job_that_is_cancelled_while_its_disk_is_stored_changes_nothing_more(
    folder: str, catalog: Catalog, store_beside: Store, tmp_path: Path, reopen: Reopen
) -> None:
    other, project = reopen(catalog), ProjectId("org-a")

    def cancel() -> None:
        with other.change(AUTHOR) as change:
            assert jobs.end(change.connection, JobId("job-1"), "cancelled by acme/main")
            give_up(change, image(1).id, "cancelled by acme/main", ())

    shop = Shop(catalog, Happening(store_beside, folder, cancel), tmp_path / "work")
    shop.begin(disk(tmp_path), made=image(1, project))

    ended = shop.work_once()

    assert (ended.state, ended.error, shop.worker.outcomes["lost"]) == (JobState.FAILED, "cancelled by acme/main", 1)
    assert catalog.refresh() == other.head
    content = shop.content(image(1).id)
    assert (shop.image(image(1).id).state, content.failure, content.stored) == (State.UNAVAILABLE, ended.error, False)
    with catalog.database.read() as connection:
        assert use_of(connection, project).total == 0
    assert list(shop.work.iterdir()) == []


@both_databases
def test_a_worker_that_lost_its_job_writes_nothing(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    slow = jobs.claim(shop.catalog.database, "slow", 2_000_000_000.0, 5)
    quick = jobs.claim(shop.catalog.database, "quick", 2_000_000_000.0, 5, jobs.leases(shop.catalog.database))
    assert slow is not None
    assert quick is not None
    shop.worker.work(slow)
    assert shop.image(job.image).state is State.MAKING
    shop.worker.work(quick)
    assert shop.image(job.image).state is State.AVAILABLE


def test_a_disk_that_was_collected_before_it_was_registered_is_stored_again(shop: Shop, tmp_path: Path) -> None:
    """The worker was paused between the two, as with its machine, for longer than a grace."""

    class PausedOnce(StoreDecorator):
        paused = 0.0

        def put(self, name: str, data: bytes) -> None:
            super().put(name, data)
            if name.startswith("manifests/") and not self.paused:
                self.paused = 2 * MIN_GRACE_SECONDS
                for chunk in list(self.list("chunks")):
                    self.delete(chunk.name)

    store = PausedOnce(shop.store, lambda operation, sent, call: call())
    paused = Shop(shop.catalog, store, tmp_path / "paused", now=lambda: time.time() + store.paused)
    raw = disk(tmp_path)
    job = paused.begin(raw)

    assert paused.work_once().state is JobState.QUEUED
    assert paused.work_once().state is JobState.DONE
    assert paused.bytes_of(job.image) == raw.read_bytes()


def test_a_disk_that_was_collected_before_it_was_examined_is_stored_again(shop: Shop, tmp_path: Path) -> None:
    is_collected = False

    def around(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        nonlocal is_collected
        if operation == "get" and not is_collected and (chunks := list(shop.store.list("chunks"))):
            is_collected = True
            for chunk in chunks:
                shop.store.delete(chunk.name)
        return call()

    collected = Shop(shop.catalog, StoreDecorator(shop.store, around), tmp_path / "collected")
    raw = disk(tmp_path)
    job = collected.begin(raw)

    assert collected.work_once().state is JobState.QUEUED
    assert is_collected
    assert collected.work_once().state is JobState.DONE
    assert collected.bytes_of(job.image) == raw.read_bytes()


def test_a_job_waits_for_a_store_that_is_away_for_long(shop: Shop, tmp_path: Path) -> None:
    """It would be given up as one that ends every worker if each attempt claimed it."""
    pauses = 0

    def around(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        if 0 < pauses < 100:
            raise StoreFailure(operation, "x", "unreachable", passing=True)
        return call()

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal pauses
            pauses += 1
            if not away.job(job.id).unfinished:
                self.set()
            return self.is_set()

    away = Shop(shop.catalog, StoreDecorator(shop.store, around), tmp_path / "away")
    job = away.begin(disk(tmp_path))
    pauses = 1
    Worker(away.catalog, away.store, away.pipeline, "worker", Stop(), Pace(lease=60, look=0.01)).run()

    assert away.job(job.id).state is JobState.DONE
    assert pauses >= 100


def test_a_worker_that_is_told_to_stop_lets_its_job_go_for_the_next_one(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    shop.stop.set()
    assert shop.work_once().state is JobState.QUEUED
    assert shop.image(job.image).state is State.MAKING
    shop.stop.clear()
    assert shop.work_once().state is JobState.DONE


def test_a_job_that_ends_every_worker_is_given_up(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    database = shop.catalog.database
    for _ in range(51):
        claimed = jobs.claim(database, "worker", 2_000_000_000.0, 5, jobs.leases(database))
    assert claimed is not None
    shop.worker.work(claimed)
    assert "never finished" in shop.job(job.id).error
    assert shop.image(job.image).state is State.UNAVAILABLE


@both_databases
def test_a_disk_over_the_quota_is_refused_and_its_room_is_free_again(shop: Shop, tmp_path: Path) -> None:
    project = ProjectId("org-a")
    with shop.catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(project, 5 * MIB))
    packed = as_qcow2(disk(tmp_path), "-c")
    job = shop.begin(packed, made=image(1, project))
    assert "quota of project org-a" in shop.work_once().error
    assert shop.image(job.image).state is State.UNAVAILABLE
    with shop.catalog.database.read() as connection:
        assert left_of(connection, project) == 5 * MIB


def test_a_published_disk_counts_with_its_size_and_no_longer_once_it_is_withdrawn(shop: Shop, tmp_path: Path) -> None:
    project = ProjectId("org-a")
    with shop.catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(project, 20 * MIB))
    made = image(1, project)
    shop.begin(disk(tmp_path), made=made)
    shop.work_once()
    with shop.catalog.database.read() as connection:
        assert left_of(connection, project) == 14 * MIB
    with shop.catalog.change(AUTHOR) as change:
        withdraw_image_bytes(change, [made.id], "")
    with shop.catalog.database.read() as connection:
        assert left_of(connection, project) == 20 * MIB


def test_a_reservation_tells_how_many_bytes_are_missing(shop: Shop, tmp_path: Path) -> None:
    project = ProjectId("org-a")
    with shop.catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(project, 10 * MIB))
    job = shop.begin(disk(tmp_path), made=image(1, project))
    assert reserve(shop.catalog.database, job.id, 10 * MIB) is None
    assert reserve(shop.catalog.database, job.id, 11 * MIB) == MIB
    assert shop.job(job.id).reserved == 10 * MIB


@pytest.mark.parametrize("state", [State.AVAILABLE, State.UNAVAILABLE])
def test_an_image_gets_the_state_that_its_publisher_wants(shop: Shop, tmp_path: Path, state: State) -> None:
    job = shop.begin(disk(tmp_path))
    with shop.catalog.change(AUTHOR) as change:
        from phimage.catalog.image_bytes import IMAGE_BYTES

        IMAGE_BYTES.put(change, replace(shop.content(job.image), target_state=state))
    shop.work_once()
    assert shop.image(job.image).state is state


def test_what_comes_of_a_job_is_one_revision_in_the_name_of_who_asked(shop: Shop, tmp_path: Path) -> None:
    shop.begin(disk(tmp_path))
    before = shop.catalog.head
    shop.work_once()
    assert shop.catalog.head == before + 1


def test_parts_are_removed_with_the_end_of_their_job(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    assert uploads.parts(shop.store, JobId(job.id))
    shop.work_once()
    assert not uploads.parts(shop.store, JobId(job.id))
    assert shop.image(ImageId(job.image)).state is State.AVAILABLE


def test_no_job_of_a_database_that_asks_for_a_newer_program_is_begun(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin(disk(tmp_path))
    with shop.catalog.database.write() as connection:
        before = connection.execute(select(tables.head.c.oldest)).scalar_one()
        connection.execute(update(tables.head).values(oldest="9999"))

    working = threading.Thread(target=shop.worker.run)
    working.start()
    try:
        wait_until(lambda: "or newer" in shop.catalog.database.circuit.reason, 60)
    finally:
        shop.stop.set()
        working.join()

    itself = shop.catalog.database.engine.execution_options(phimage_write=True)  # the catalogue refuses from here on
    with itself.begin() as connection:
        found = connection.execute(select(tables.job.c.state, tables.job.c.fence).where(tables.job.c.id == job.id)).one()
        connection.execute(update(tables.head).values(oldest=before))  # for whoever gets it next
    assert tuple(found) == (JobState.QUEUED.value, 0)
