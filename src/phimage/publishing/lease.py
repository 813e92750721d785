"""A job while a worker has it: it says how far it is, and learns that it was lost.

A withdrawn image, a job that another worker took and a worker that is to stop all set `cancel` within RENEW_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from phimage.catalog import image_bytes, jobs
from phimage.catalog.engine import Database
from phimage.errors import ServiceUnavailable
from phimage.model.job import Job
from phimage.publishing.errors import ImageRefused, Interrupted, JobLost

RENEW_SECONDS = 1.0


class Lease:
    """Renews the lease of a job from a thread of its own, however long a step takes, and is the job's `Step`."""

    def __init__(
        self,
        database: Database,
        job: Job,
        seconds: float,
        stop: threading.Event,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`stop` interrupts the work at its next step."""
        self._database = database
        self._job = job
        self._seconds = seconds
        self._stop = stop
        self._now = now
        self._place = ("", 0, 0)
        self._cancel = threading.Event()
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="job-lease", daemon=True)

    @property
    def cancel(self) -> threading.Event:
        """See `Step`."""
        return self._cancel

    def check(self) -> None:
        """See `Step`."""
        if self._lost:
            raise JobLost(self._job.id)
        if self._stop.is_set():
            raise Interrupted(self._job.id)

    def at(self, phase: str, done: int = 0, total: int = 0) -> None:
        """See `Step`."""
        began, self._place = self._place[0] != phase, (phase, done, total)
        if began:
            self._tell()
        self.check()

    def reserve(self, size: int) -> None:
        """See `Step`."""
        missing = image_bytes.reserve(self._database, self._job.id, size)
        if missing is not None:
            whose = f"project {self._job.project}" if self._job.project else "base images"
            raise ImageRefused(f"the quota of {whose} has no room for a disk of {size} bytes: {missing} bytes are missing")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(min(RENEW_SECONDS, self._seconds / 6)):
            self._tell()
            if self._lost or self._stop.is_set():
                self._cancel.set()

    def _tell(self) -> None:
        with suppress(ServiceUnavailable):  # if it lasts, the lease runs out and the fence decides
            if not jobs.renew(self._database, self._job, *self._place, self._now(), self._seconds):
                self._lost = True
