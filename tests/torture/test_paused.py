"""A publisher that is paused for longer than its lease and then continues (T22): its work is dropped."""

from __future__ import annotations

import errno
import gzip
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phimage.catalog import jobs
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.errors import ServiceUnavailable
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.model.job import Job, JobState
from phimage.sources.partial_file import FreeSpace
from tests.e2e.process import Worker
from tests.publishing.shop import Shop, disk, sha256_of
from tests.torture.installation import SECONDS, Installation, eventually, publish_command


def job_of(installation: Installation, image: ImageId) -> Job:
    with installation.catalog.database.read() as connection:
        found = jobs.newest_of(connection, image)
    assert found is not None
    return found


def pause(publisher: Worker, installation: Installation, image: ImageId) -> bool:
    """Stop a publisher in the middle of its job, but not in the middle of a write, for which all would wait."""
    while True:
        os.kill(publisher.pid, signal.SIGSTOP)
        try:
            with installation.catalog.database.write():
                return job_of(installation, image).state is JobState.RUNNING
        except ServiceUnavailable:
            os.kill(publisher.pid, signal.SIGCONT)
            time.sleep(0.05)  # in which the write ends


def begin(installation: Installation, file: Path) -> ImageId:
    """Let a disk be published. A publisher has its job when this returns."""
    image = ImageId(installation.cli.well(*publish_command(str(file), file.name, "--detach")).strip())
    eventually(lambda: job_of(installation, image).state is not JobState.QUEUED, "nobody began")
    return image


def test_of_a_publisher_that_was_paused_and_the_one_that_took_over_one_has_a_result(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation:
        server = installation.start()
        eventually(lambda: installation.publisher() is not None, "there is no publisher")
        first = installation.publisher()
        assert first is not None
        for number in range(1, 10):  # until it is caught in the middle, which is easier with a larger disk
            file = disk(tmp_path, mebibytes=60 * number, seed=number)
            image = begin(installation, file)
            if pause(first, installation, image):
                break
            os.kill(first.pid, signal.SIGCONT)
        paused = job_of(installation, image)
        assert paused.state is JobState.RUNNING
        second = installation.home.start("publisher")
        eventually(lambda: job_of(installation, image).state is JobState.DONE, "nobody took over")
        done, revision = job_of(installation, image), installation.catalog.refresh()

        os.kill(first.pid, signal.SIGCONT)
        eventually(lambda: '"event": "job.lost"' in server.errors, "the first one did not find out")

        second.terminate()
        _, err = second.communicate(timeout=SECONDS)
        assert '"event": "job.done"' in err
        assert '"event": "job.done"' not in server.errors.rpartition('"event": "job.begun"')[2]
        assert (done.fence, done.owner) != (paused.fence, paused.owner)
        assert job_of(installation, image) == done
        assert installation.catalog.refresh() == revision
        found = installation.image(image)
        assert found is not None
        assert found.state is State.AVAILABLE
        assert installation.contents()[image].sha256 == sha256_of(file)


class Gate:
    """Stops a worker as it is about to write what it unpacked."""

    def __init__(self, shop: Shop) -> None:
        self.reached, self._open, self._error = threading.Event(), threading.Event(), 0
        shop.pipeline._space = FreeSpace(shop.work, 0, self._free)

    def open(self, error: int = 0) -> None:
        """Let it continue, or fail with an error."""
        self._error = error
        self._open.set()

    def _free(self, _: Path) -> int:
        self.reached.set()
        self._open.wait()
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        return 1 << 40


@pytest.mark.parametrize("error", [0, errno.EIO])
def test_who_lost_a_job_leaves_the_files_and_the_upload_of_who_has_it_alone(
    catalog: Catalog, tmp_path: Path, error: int
) -> None:
    file = disk(tmp_path)
    packed = tmp_path / "disk.gz"
    packed.write_bytes(gzip.compress(file.read_bytes(), 1))
    store = MemoryStore()
    late, quick = Shop(catalog, store, tmp_path / "work"), Shop(catalog, store, tmp_path / "work")
    gates = Gate(late), Gate(quick)
    job = late.begin(packed)
    with ThreadPoolExecutor(2) as pool:
        workers = []
        for number, shop in enumerate((late, quick)):
            claimed = jobs.claim(catalog.database, f"worker {number}", time.time(), 30, jobs.leases(catalog.database))
            assert claimed is not None
            workers.append(pool.submit(shop.worker.work, claimed))
            gates[number].reached.wait()

        gates[0].open(error)
        workers[0].result()
        assert late.job(job.id).state is JobState.RUNNING
        gates[1].open()
        workers[1].result()

    assert late.job(job.id).error == ""
    assert late.image(job.image).state is State.AVAILABLE
    assert late.bytes_of(job.image) == file.read_bytes()
    assert list((tmp_path / "work").iterdir()) == []
    assert not list(store.list("uploads"))
