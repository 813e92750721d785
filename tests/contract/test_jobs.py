"""A job has one worker at a time and one result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.views import Catalog
from phimage.model.ids import ImageId, JobId
from phimage.model.job import Job, JobState, Origin, new_job
from phimage.publishing.lease import LeaseExpiry
from tests.conftest import Reopen
from tests.examples import author


def _job(number: int = 1, state: JobState = JobState.QUEUED) -> Job:
    origin = Origin(url="https://images.example/disk.qcow2", digest="sha256:00", overrides=("a", "b"))
    return replace(new_job(JobId(f"job-{number}"), ImageId(f"pimg-{number}"), origin, 1000.0 + number), state=state)


def _add(catalog: Catalog, *added: Job) -> None:
    with catalog.database.write() as connection:
        for job in added:
            jobs.add(connection, job)


def _find(catalog: Catalog, number: int = 1) -> Job:
    with catalog.database.read() as connection:
        found = jobs.find(connection, JobId(f"job-{number}"))
    assert found is not None
    return found


def test_a_job_is_kept_as_it_was_added(catalog: Catalog) -> None:
    _add(catalog, _job())
    assert _find(catalog) == _job()


def test_the_oldest_job_is_claimed_first_and_only_once(catalog: Catalog) -> None:
    _add(catalog, _job(2), _job(1))
    claimed = [jobs.claim(catalog.database, "worker", now=2000.0) for _ in range(3)]
    assert [job and job.id for job in claimed] == ["job-1", "job-2", None]


def test_a_job_that_waits_for_its_upload_is_not_claimed(catalog: Catalog) -> None:
    _add(catalog, _job(state=JobState.WAITING))
    assert jobs.claim(catalog.database, "worker", now=2000.0) is None
    with catalog.database.write() as connection:
        jobs.queue(connection, JobId("job-1"))
    assert jobs.claim(catalog.database, "worker", now=2000.0) is not None


def test_a_job_whose_lease_expired_is_claimed_again_and_its_first_worker_has_lost_it(catalog: Catalog) -> None:
    _add(catalog, _job())
    first = jobs.claim(catalog.database, "one", now=2000.0)
    assert first is not None
    second = jobs.claim(catalog.database, "two", now=2001.0, expired=jobs.leases(catalog.database))
    assert second is not None
    assert (second.owner, second.fence) == ("two", first.fence + 1)
    assert not jobs.renew(catalog.database, first, "late", 1, 2, now=2100.0)
    with catalog.database.write() as connection:
        assert not jobs.finish(connection, first)
        assert jobs.finish(connection, second, error="bad disk")
    assert (_find(catalog).state, _find(catalog).error) == (JobState.FAILED, "bad disk")


def test_a_lease_that_was_renewed_since_it_was_read_is_not_taken(catalog: Catalog) -> None:
    _add(catalog, _job())
    job = jobs.claim(catalog.database, "one", now=2000.0)
    assert job is not None
    read = jobs.leases(catalog.database)
    assert jobs.renew(catalog.database, job, "fetching", 5, 10, now=2025.0)
    assert jobs.claim(catalog.database, "two", now=2026.0, expired=read) is None
    assert (_find(catalog).phase, _find(catalog).done, _find(catalog).total) == ("fetching", 5, 10)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
@pytest.mark.parametrize("shared", [False, True], ids=["its own clock", "the clock of both"])
def test_a_clock_that_steps_by_an_hour_takes_no_job_from_a_worker_that_renews(
    catalog: Catalog, step: float, shared: bool
) -> None:
    _add(catalog, _job())
    one = jobs.claim(catalog.database, "one", now=2000.0)
    assert one is not None
    clock = iter(range(100))
    expiry = LeaseExpiry(10.0, lambda: float(next(clock)))
    for second in range(50):
        right = 2000.0 + second
        stepped = right + (step if second >= 5 else 0.0)
        expired = expiry.expired(jobs.leases(catalog.database))
        assert jobs.claim(catalog.database, "two", stepped, 10.0, expired) is None
        assert jobs.renew(catalog.database, one, "fetch", second, 0, stepped if shared else right, 10.0)
    with catalog.database.write() as connection:
        assert jobs.finish(connection, one)


def test_the_job_of_a_dead_worker_waits_for_one_lease_however_far_the_clock_steps_back(catalog: Catalog) -> None:
    _add(catalog, _job())
    assert jobs.claim(catalog.database, "one", now=2000.0, lease_seconds=10.0) is not None
    clock = iter(range(100))
    expiry = LeaseExpiry(10.0, lambda: float(next(clock)))
    for second in range(100):
        expired = expiry.expired(jobs.leases(catalog.database))
        if jobs.claim(catalog.database, "two", 2000.0 - 3600.0 + second, 10.0, expired) is not None:
            break
    assert second == 11


def test_a_postponed_job_waits_until_it_is_due_and_lets_those_before_it_go_first(catalog: Catalog) -> None:
    _add(catalog, _job(1), _job(2))
    first = jobs.claim(catalog.database, "worker", now=2000.0)
    assert first is not None
    assert jobs.postpone(catalog.database, first, 2060.0, 1, "no answer")
    assert (_find(catalog).state, _find(catalog).failures, _find(catalog).error) == (JobState.QUEUED, 1, "no answer")
    claimed = [jobs.claim(catalog.database, "worker", now=now) for now in (2001.0, 2059.0)]
    _add(catalog, replace(_job(3), created=2070.0))
    claimed += [jobs.claim(catalog.database, "worker", now=2070.0) for _ in range(2)]
    assert [job and job.id for job in claimed] == ["job-2", None, "job-1", "job-3"]
    assert _find(catalog).error == ""


def test_a_postponed_job_does_not_wait_for_a_clock_that_stepped_back(catalog: Catalog) -> None:
    _add(catalog, _job())
    job = jobs.claim(catalog.database, "worker", now=6000.0)
    assert job is not None
    assert jobs.postpone(catalog.database, job, 6060.0, 1, "no answer")
    assert jobs.claim(catalog.database, "worker", now=6060.0 - 3600.0) is not None


def test_a_job_that_was_lost_is_not_postponed(catalog: Catalog) -> None:
    _add(catalog, _job())
    job = jobs.claim(catalog.database, "worker", now=2000.0)
    assert job is not None
    with catalog.database.write() as connection:
        jobs.cancel(connection, job.image, "withdrawn")
    assert not jobs.postpone(catalog.database, job, 2060.0, 1, "no answer")
    assert _find(catalog).error == "withdrawn"


def test_a_job_that_is_finished_and_cancelled_at_the_same_time_has_one_end(catalog: Catalog, reopen: Reopen) -> None:
    other = reopen(catalog)

    def finish(job: Job) -> bool:
        with catalog.change(author()) as change:
            return jobs.finish(change.connection, job)

    def cancel(job: Job) -> bool:
        with other.change(author()) as change:
            return jobs.end(change.connection, job.id, "cancelled")

    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            _add(catalog, _job(number))
            job = jobs.claim(catalog.database, "one", now=2000.0)
            assert job is not None
            ends = {end: pool.submit(end, job) for end in ((finish, cancel) if number % 2 else (cancel, finish))}
            finished, cancelled = ends[finish].result(), ends[cancel].result()
            assert finished != cancelled
            assert _find(catalog, number).error == ("cancelled" if cancelled else "")


def test_a_finished_job_stays_finished(catalog: Catalog) -> None:
    _add(catalog, _job())
    job = jobs.claim(catalog.database, "one", now=2000.0)
    assert job is not None
    with catalog.database.write() as connection:
        assert jobs.finish(connection, job)
        assert not jobs.finish(connection, job, error="again")
    assert jobs.claim(catalog.database, "two", now=9999.0) is None
    assert _find(catalog).state is JobState.DONE


def test_finishing_is_undone_with_the_transaction_it_is_part_of(catalog: Catalog) -> None:
    _add(catalog, _job())
    job = jobs.claim(catalog.database, "one", now=2000.0)
    assert job is not None
    with pytest.raises(RuntimeError, match="no"), catalog.database.write() as connection:  # noqa: PT012
        assert jobs.finish(connection, job)
        raise RuntimeError("no")
    assert _find(catalog).state is JobState.RUNNING


def test_workers_that_claim_at_the_same_time_get_different_jobs(catalog: Catalog) -> None:
    _add(catalog, *(_job(number) for number in range(1, 13)))
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda n: jobs.claim(catalog.database, f"worker {n}", now=2000.0), range(12)))
    assert len({job.id for job in claimed if job is not None}) == 12


def test_the_last_job_of_an_image_is_found(catalog: Catalog) -> None:
    import msgspec

    _add(catalog, _job(1), msgspec.structs.replace(_job(2), image=ImageId("pimg-1")))
    with catalog.database.read() as connection:
        found = jobs.newest_of(connection, ImageId("pimg-1"))
        assert jobs.newest_of(connection, ImageId("pimg-9")) is None
        assert jobs.unfinished(connection) == 2
    assert found is not None
    assert found.id == "job-2"
