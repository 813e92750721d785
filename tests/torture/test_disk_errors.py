"""A disk that fails or is full, at each system call in turn (T4): the job ends with the reason, and a retry works."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.folder import FolderStore, SystemCalls
from phimage.chunks.gc import collect_garbage
from phimage.chunks.layout import digest_of_name
from phimage.model.image import State
from phimage.model.job import Job, JobState
from phimage.sources.partial_file import FreeSpace
from tests.publishing.shop import AUTHOR, Shop, as_qcow2, disk
from tests.small_disk import small_disk
from tests.torture.length import lengths

DAYS = 2 * 86400.0
REASONS = {errno.EIO: "input/output error", errno.ENOSPC: "no space"}


class FailingOnce:
    """System calls, one of which, counted from `arm`, fails. A sync does nothing: thousands of puts would take too long."""

    def __init__(self) -> None:
        self.made = 0
        self.failed = False
        self._at = 0
        self._error = 0
        self._lock = threading.Lock()
        self.calls = SystemCalls(**{name: self._failing(name, call) for name, call in asdict(SystemCalls()).items()})

    def arm(self, number: int, error: int) -> None:
        """Make the `number`-th call from now fail; 0 for none."""
        self.made, self.failed, self._at, self._error = 0, False, number, error

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.made += 1
                fails = self.made == self._at
            if fails:
                self.failed = True
                if name == "close":
                    call(*arguments)
                raise OSError(self._error, os.strerror(self._error))
            return None if name in ("fsync", "syncfs") else call(*arguments, **named)

        return made


@dataclass
class Place:
    """A shop whose store fails on demand, and its published images."""

    shop: Shop
    failing: FailingOnce
    root: Path
    number: int = 0
    by_chunks: bool = False

    def publish(self, file: Path, at: int = 0, error: int = 0) -> Job:
        """Upload a file and let the worker publish it while one call fails. Returns the ended job."""
        self.number += 1
        self.failing.arm(0, 0)
        begin = self.shop.begin_by_chunks if self.by_chunks else self.shop.begin
        begin(file, self.number)
        self.failing.arm(at, error)
        return self.shop.work_once()

    def check_nothing_came_of(self, job: Job) -> None:
        """Check that the image has a reason and no bytes, and that nothing unfinished is left."""
        content = self.shop.content(job.image)
        assert self.shop.image(job.image).state is State.UNAVAILABLE
        assert (content.failure, content.stored) == (job.error, False)
        assert list((self.root / ".tmp").iterdir()) == []
        assert list(self.shop.work.iterdir()) == []
        assert all(digest_of_name(stored.name) for stored in self.shop.store.list())  # no parts of the upload

    def empty(self) -> None:
        """Withdraw and collect everything: the store is empty, and all space is free again."""
        with self.shop.catalog.change(AUTHOR) as change:
            for known in IMAGES.live(change.connection):
                withdraw_image_bytes(change, [known.id], "")
                IMAGES.withdraw(change, known)
        collect_garbage(self.shop.store, list, now=time.time() + DAYS)
        assert list(self.shop.store.list()) == []


@pytest.fixture
def place(catalog: Catalog, tmp_path: Path) -> Place:
    failing = FailingOnce()
    root = tmp_path / "store"
    return Place(Shop(catalog, FolderStore(root, calls=failing.calls), tmp_path / "work"), failing, root)


@lengths("stride", 9, 1)
@pytest.mark.parametrize("error", list(REASONS))
@pytest.mark.parametrize("by_chunks", [False, True])
def test_a_disk_error_at_any_call_ends_the_job_with_its_reason_and_a_retry_works(
    place: Place, tmp_path: Path, error: int, stride: int, by_chunks: bool
) -> None:
    place.by_chunks = by_chunks
    file = disk(tmp_path, mebibytes=3)
    assert place.publish(file).state is JobState.DONE
    place.empty()
    tried = 0
    for number in range(1 + (error == errno.EIO) * (stride // 2), 10_000, stride):
        shutil.rmtree(place.root / "chunks", ignore_errors=True)
        shutil.rmtree(place.root / "manifests", ignore_errors=True)
        place.failing = FailingOnce()
        place.shop = Shop(place.shop.catalog, FolderStore(place.root, calls=place.failing.calls), place.shop.work)
        failed = place.publish(file, number, error)
        if not place.failing.failed:
            break  # there are no more calls
        tried += 1
        assert failed.state is JobState.FAILED
        assert REASONS[error] in failed.error
        place.check_nothing_came_of(failed)
        again = place.publish(file)
        assert again.state is JobState.DONE, again.error
        assert place.shop.bytes_of(again.image) == file.read_bytes()
        place.empty()
    assert tried >= 20 // stride


def test_an_error_that_may_pass_lets_the_job_go_and_it_is_done_later(place: Place, tmp_path: Path) -> None:
    file = disk(tmp_path, mebibytes=3)
    let_go = place.publish(file, 10, errno.EAGAIN)
    assert let_go.state is JobState.QUEUED
    assert place.shop.image(let_go.image).state is State.MAKING
    assert place.shop.work_once().state is JobState.DONE
    assert place.shop.bytes_of(let_go.image) == file.read_bytes()


@pytest.mark.parametrize("form", ["packed", "qcow2"])
@pytest.mark.parametrize("told", ["do not fit into", "is full"])
def test_a_full_work_folder_ends_the_job_with_the_reason_and_is_empty_again(
    place: Place, tmp_path: Path, form: str, told: str
) -> None:
    raw = disk(tmp_path, mebibytes=8)
    file = as_qcow2(raw)
    if form == "packed":
        file = tmp_path / "disk.qcow2.gz"
        file.write_bytes(gzip.compress(as_qcow2(raw).read_bytes(), 1))
    if told == "is full":  # somebody else takes the room after it was looked at
        place.shop.pipeline._space = FreeSpace(place.shop.work, 0, lambda _: 1 << 40)
    with small_disk(place.shop.work, {"packed": "1m", "qcow2": "3m"}[form]):  # room for the file, not for the disk too
        failed = place.publish(file)
        assert failed.state is JobState.FAILED
        assert told in failed.error
        assert str(place.shop.work) in failed.error
        place.check_nothing_came_of(failed)
    again = place.publish(file)
    assert again.state is JobState.DONE, again.error
    assert place.shop.bytes_of(again.image) == raw.read_bytes()


def test_a_full_store_ends_the_job_with_the_reason_and_takes_disks_again_when_there_is_room(
    catalog: Catalog, tmp_path: Path
) -> None:
    raw = disk(tmp_path, mebibytes=3)
    with small_disk(tmp_path / "small", "72m") as folder:
        shop = Shop(catalog, FolderStore(folder / "store"), tmp_path / "work")
        place = Place(shop, FailingOnce(), folder / "store")
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(10 << 20))

        failed = place.publish(raw)

        assert failed.state is JobState.FAILED
        assert f"do not fit into {folder / 'store'}, which has" in failed.error
        place.check_nothing_came_of(failed)
        ballast.unlink()
        again = place.publish(raw)
        assert again.state is JobState.DONE, again.error
        assert shop.bytes_of(again.image) == raw.read_bytes()
