"""Publications that nobody goes on with end after an hour: given up, withdrawn, or kept where somebody still decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.image_bytes import expect_image_bytes, withdraw_image_bytes
from phimage.catalog.images import IMAGES, adopt
from phimage.catalog.revisions import Author, head
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Stored
from phimage.chunks.uploads import leftovers
from phimage.model.ids import ImageId, JobId, ProjectId
from phimage.model.image import NO_PROJECT, State
from phimage.model.job import Job, JobState, Origin, new_job
from phimage.publishing.expiry import Expired, deprecate_due, due, expire
from tests.conftest import Reopen, sqlite_first
from tests.publishing.shop import AUTHOR, Shop, image

dialect = sqlite_first

BEGUN = AUTHOR.time
HOUR = 3600.0
CUSTOM = ProjectId("org-a")


class Watched(MemoryStore):
    """Lets something happen while it is listed, which is after `expire` has read the catalogue and before it changes it."""

    when_listed: Callable[[], None] | None = None

    def list(self, prefix: str = "") -> Iterator[Stored]:
        happens, self.when_listed = self.when_listed, None
        if happens is not None:
            happens()
        return super().list(prefix)


class Place:
    """A publisher with a clock that tests move."""

    def __init__(self, catalog: Catalog, work: Path) -> None:
        self.time = BEGUN
        self.store = Watched(lambda: self.time)
        self.shop = Shop(catalog, self.store, work, now=lambda: self.time)

    def author(self) -> Author:
        return replace(AUTHOR, time=self.time)

    def expire(self) -> Expired:
        return expire(self.shop.catalog, self.store, self.author(), self.time)

    def wait(self, number: int = 1, project: ProjectId = NO_PROJECT, origin: Origin | None = None) -> Job:
        """An image that waits for its upload."""
        made = image(number, project)
        job = new_job(JobId(f"job-{number}"), made.id, origin or Origin(size=3), self.time, project=project)
        with self.shop.catalog.change(self.author()) as change:
            IMAGES.put(change, made)
            expect_image_bytes(change, job)
        return job

    def fail(self, number: int = 1, project: ProjectId = NO_PROJECT) -> Job:
        """An image whose publication failed: its bytes are no disk."""
        job = self.wait(number, project)
        self.shop.put(job, b"abc")
        with self.shop.catalog.database.write() as connection:
            jobs.queue(connection, job.id)
        claimed = jobs.claim(self.shop.catalog.database, "worker", self.time)
        assert claimed is not None
        self.shop.worker.work(claimed)
        assert self.shop.job(job.id).state is JobState.FAILED
        return job

    def there(self, id: ImageId) -> bool:
        with self.shop.catalog.database.read() as connection:
            return IMAGES.find(connection, id) is not None

    def revision(self) -> int:
        with self.shop.catalog.database.read() as connection:
            return head(connection)


@pytest.fixture
def place(catalog: Catalog, tmp_path: Path) -> Place:
    return Place(catalog, tmp_path / "work")


def test_a_base_upload_without_a_part_for_an_hour_is_withdrawn_and_its_job_has_the_reason(place: Place) -> None:
    job = place.wait()
    place.time += HOUR - 1
    assert place.expire() == Expired((), ())

    place.time += 2
    assert due(place.shop.catalog, place.shop.store, place.time) == Expired((job.id,), ())
    assert place.expire() == Expired((job.id,), ())

    assert not place.there(job.image)
    ended = place.shop.job(job.id)
    assert (ended.state, ended.error) == (JobState.FAILED, "its upload received no part for an hour; publish it again")


def test_an_upload_that_got_a_part_within_the_hour_goes_on(place: Place) -> None:
    job = place.wait()
    place.time += HOUR - 1
    place.shop.put(job, b"abc")
    place.time += HOUR - 1
    assert place.expire() == Expired((), ())
    place.time += 2
    assert place.expire() == Expired((job.id,), ())


def test_a_custom_image_whose_upload_is_given_up_stays_unavailable_with_the_reason(place: Place) -> None:
    job = place.wait(project=CUSTOM)
    place.time += HOUR + 1
    assert place.expire() == Expired((job.id,), ())

    assert place.shop.image(job.image).state is State.UNAVAILABLE
    assert place.shop.content(job.image).failure == "its upload received no part for an hour; publish it again"
    place.time += 1000 * HOUR
    assert place.expire() == Expired((), ())
    assert place.there(job.image)


def test_a_base_image_that_failed_is_withdrawn_after_an_hour_and_its_job_keeps_the_reason(place: Place) -> None:
    job = place.fail()
    reason = place.shop.job(job.id).error
    place.time += HOUR - 1
    assert place.expire() == Expired((), ())
    assert place.shop.image(job.image).state is State.UNAVAILABLE

    place.time += 2
    assert place.expire() == Expired((), (job.image,))

    assert not place.there(job.image)
    assert (place.shop.job(job.id).error, bool(reason)) == (reason, True)


def test_a_custom_image_that_failed_stays_until_its_owner_removes_it(place: Place) -> None:
    job = place.fail(project=CUSTOM)
    place.time += 1000 * HOUR
    assert place.expire() == Expired((), ())
    assert place.shop.image(job.image).state is State.UNAVAILABLE


def test_an_image_of_the_catalogue_file_that_failed_stays_for_the_next_apply(place: Place) -> None:
    job = place.fail()
    with place.shop.catalog.change(place.author()) as change:
        adopt(change, [job.image])
    place.time += 1000 * HOUR
    assert place.expire() == Expired((), ())
    assert place.there(job.image)


@pytest.mark.parametrize("happens", ["completed", "withdrawn", "published once more", "given up by another publisher"])
def test_what_changes_between_the_look_and_the_revision_is_left_alone(happens: str, place: Place, reopen: Reopen) -> None:
    job, idle = (place.fail(), place.wait(2)) if happens == "published once more" else (place.wait(), None)
    place.time += HOUR + 1
    other = reopen(place.shop.catalog)

    def meanwhile() -> None:
        if happens == "completed":
            with other.database.write() as connection:
                assert jobs.queue(connection, job.id)
        elif happens == "withdrawn":
            with other.change(place.author()) as change:
                withdraw_image_bytes(change, [job.image], "the image was withdrawn")
                IMAGES.withdraw(change, image())
        elif happens == "published once more":
            with other.change(place.author()) as change:
                expect_image_bytes(change, replace(job, id=JobId("job-again"), origin=Origin(url="https://a.example/x")))
        else:
            assert expire(other, MemoryStore(), place.author(), place.time) == Expired((job.id,), ())

    place.store.when_listed = meanwhile

    assert place.expire() == Expired((idle.id,) if idle else (), ())
    assert place.there(job.image) == (happens in ("completed", "published once more"))


def test_a_publisher_ends_them_by_itself_once_a_minute_and_removes_their_parts(place: Place) -> None:
    job = place.wait()
    place.shop.put(job, b"abc")
    place.time += HOUR + 1
    place.shop.worker.expire()
    assert not place.there(job.image)
    assert leftovers(place.shop.store) == set()

    other = place.wait(2)
    place.time += HOUR + 1
    place.shop.worker.expire()
    assert not place.there(other.image)
    revision = place.revision()

    late = place.wait(3)
    with place.shop.catalog.database.write() as connection:
        jobs.queue(connection, late.id)
    place.shop.worker.expire()
    assert place.revision() == revision + 1, "a complete upload is a publisher's work, however old"


def test_an_announced_deprecation_takes_effect_in_a_revision_when_its_time_comes(catalog: Catalog) -> None:
    soon, later = replace(image(1), deprecation_time=int(BEGUN) + 60), replace(image(2), deprecation_time=int(BEGUN) + 3600)
    with catalog.change(AUTHOR) as change:
        IMAGES.add_all(change, [soon, later, image(3)])

    assert deprecate_due(catalog, AUTHOR, BEGUN + 59) == ()
    assert deprecate_due(catalog, AUTHOR, BEGUN + 61) == (soon.id,)
    assert deprecate_due(catalog, AUTHOR, BEGUN + 62) == ()

    with catalog.database.read() as connection:
        assert head(connection) == 2
        assert {found.id: found.deprecated for found in IMAGES.live(connection)} == {
            soon.id: True,
            later.id: False,
            image(3).id: False,
        }
