"""A quota of ten times what each of 64 publications at once wants (T8): ten get it, at no moment more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phimage.catalog import jobs
from phimage.catalog.image_bytes import QUOTAS, expect_image_bytes, reserve, use_of
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.client import Client
from phimage.errors import QuotaExceeded, Refused, ServiceUnavailable
from phimage.model.ids import ImageId, JobId, ProjectId
from phimage.model.image import State
from phimage.model.image_bytes import Quota
from phimage.model.job import Job, JobState, Origin, new_job
from tests.conftest import Reopen
from tests.publishing.shop import AUTHOR, MIB, Shop, as_qcow2, disk, image
from tests.torture.installation import SECONDS, Installation

GIB = 1 << 30
WANTING = 64
ROOM = 10
PROJECT = ProjectId("org-a")

both = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)


@contextmanager
def watching(catalog: Catalog, project: ProjectId, limit: int) -> Iterator[list[int]]:
    """Read the usage of a project again and again; it never exceeds the limit."""
    over, seen = threading.Event(), list[int]()

    def watch() -> None:
        while not over.is_set():
            with catalog.database.read() as connection:
                seen.append(use_of(connection, project).total)
            over.wait(0.005)

    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        try:
            yield seen
        finally:
            over.set()
        watched.result()
    assert max(seen) <= limit


def ask(client: Client, number: int) -> str | None:
    """Ask for a place for an image of a GiB. Its id, None when the quota has none."""
    given: dict[str, Any] = {
        "ImageType": "Base",
        "Name": f"image {number}",
        "OsType": "Debian",
        "OsName": "Debian 12",
        "Zone": ["cn-bj2-02"],
        "Support": ["DB-2"],
    }
    ends = time.monotonic() + SECONDS
    while True:
        try:
            answer = client.call("PublishPHostImage", **given, Size=GIB, TrustFirstUse=True, Token=f"token {number}")
            return str(answer.fields["ImageId"])
        except Refused as refused:
            if refused.ret_code == QuotaExceeded.ret_code:
                return None
            if refused.ret_code != ServiceUnavailable.ret_code or time.monotonic() > ends:  # else the database was busy
                raise


@pytest.mark.parametrize(("dialect", "processes"), [("sqlite", 2), ("postgresql", 3)], indirect=["dialect"])
def test_of_64_publications_at_once_exactly_those_are_accepted_that_have_room(
    database_url: str, processes: int, tmp_path: Path
) -> None:
    places = {"PHIMAGE_DATABASE": database_url, "PHIMAGE_WORKERS": str(processes), "PHIMAGE_PUBLISHERS": "0"}
    with Installation(tmp_path, **places) as installation:
        installation.start()
        installation.cli.well("quota", "set", "Base", str(ROOM * GIB))

        def one(number: int) -> str | None:
            with installation.client() as client:
                return ask(client, number)

        with watching(installation.catalog, ProjectId(""), ROOM * GIB) as seen, ThreadPoolExecutor(WANTING) as pool:
            accepted = [id for id in pool.map(one, range(WANTING)) if id]

        assert len(set(accepted)) == ROOM
        assert len(installation.contents()) == ROOM
        assert seen[-1] <= ROOM * GIB
        with installation.client() as client:
            client.call("WithdrawPHostImage", ImageId=accepted[0])
            assert [bool(ask(client, number)) for number in (1000, 1001)] == [True, False]
        installation.stop()


def waiting(number: int) -> Job:
    """The job of an image of a project, of which nobody knows yet how large it is."""
    image, origin = ImageId(f"pimg-cs-test{number:04}"), Origin(url="http://images.example/disk")
    return new_job(JobId(f"job-{number}"), image, origin, float(number), project=PROJECT)


@both
def test_of_64_jobs_that_learn_their_size_at_once_exactly_those_get_it_that_have_room(catalog: Catalog, reopen: Reopen) -> None:
    with catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(PROJECT, ROOM * GIB))
        for number in range(WANTING):
            IMAGES.put(change, image(number, PROJECT))
            expect_image_bytes(change, waiting(number))
    processes = [reopen(catalog) for _ in range(3)]

    def one(number: int) -> bool:
        while True:
            try:
                return reserve(processes[number % 3].database, JobId(f"job-{number}"), GIB) is None
            except ServiceUnavailable:  # the database was busy for too long
                continue

    with watching(catalog, PROJECT, ROOM * GIB), ThreadPoolExecutor(WANTING) as pool:
        assert sum(pool.map(one, range(WANTING))) == ROOM


def work(shop: Shop) -> None:
    """Do jobs, beside others, until there is none. A job goes back when the database is busy for too long."""
    while True:
        try:
            claimed = jobs.claim(shop.catalog.database, "worker", time.time())
        except ServiceUnavailable:
            continue
        if claimed is None:
            return
        shop.worker.work(claimed)


def test_of_disks_whose_size_is_known_only_from_their_header_those_are_published_that_have_room(
    catalog: Catalog, tmp_path: Path
) -> None:
    with catalog.change(AUTHOR) as change:
        QUOTAS.put(change, Quota(PROJECT, 3 * 6 * MIB + 1))
    shop = Shop(catalog, MemoryStore(), tmp_path / "work")
    file = as_qcow2(disk(tmp_path, mebibytes=6), "-c")
    ids = [shop.begin(file, number, made=image(number, PROJECT)).id for number in range(1, 9)]
    with catalog.database.write() as connection:  # their uploads were let in while there was room
        for id in ids:
            assert connection.exec_driver_sql("UPDATE job SET reserved = 0 WHERE id = ?", (id,)).rowcount == 1
    with watching(catalog, PROJECT, 3 * 6 * MIB + 1), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: work(shop), range(4)))
    ended = [shop.job(id) for id in ids]
    states = [job.state for job in ended]
    assert (states.count(JobState.DONE), states.count(JobState.FAILED)) == (3, 5)
    assert all("quota of project org-a" in job.error for job in ended if job.state is JobState.FAILED)
    assert sum(shop.image(job.image).state is State.AVAILABLE for job in ended) == 3
