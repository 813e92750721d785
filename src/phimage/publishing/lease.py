"""The lease of a job: the worker that holds it renews it and reports progress; other workers detect that it has expired.

A withdrawn image, a job taken by another worker and a stopping worker all set `cancel` within RENEW_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from phimage.catalog import image_bytes, jobs
from phimage.catalog.engine import Database
from phimage.errors import ServiceUnavailable
from phimage.model.job import Job, JobLease
from phimage.publishing.errors import ImageRefused, Interrupted, JobLost
from phimage.publishing.progress import FETCH

RENEW_SECONDS = 1.0


class LeaseKeeper:
    """Renews the lease of a job in a thread of its own, and is the job's `JobProgress`."""

    def __init__(
        self,
        database: Database,
        job: Job,
        seconds: float,
        stop: threading.Event,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Setting `stop` interrupts the work at its next report."""
        self._database = database
        self._job = job
        self._seconds = seconds
        self._stop = stop
        self._now = now
        self._place = ("", 0, 0)
        self._fetched: int | None = None
        self._cancel = threading.Event()
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="job-lease", daemon=True)

    @property
    def cancel(self) -> threading.Event:
        """See `JobProgress`."""
        return self._cancel

    def check(self) -> None:
        """See `JobProgress`."""
        if self._lost:
            raise JobLost(self._job.id)
        if self._stop.is_set():
            raise Interrupted(self._job.id)

    def update(self, phase: str, done: int = 0, total: int = 0) -> None:
        """See `JobProgress`."""
        began, self._place = self._place[0] != phase, (phase, done, total)
        if phase == FETCH:
            self._fetched = done
        if began:
            self._report()
        self.check()

    def reserve(self, size: int) -> None:
        """See `JobProgress`."""
        missing = image_bytes.reserve(self._database, self._job.id, size)
        if missing is not None:
            owner = f"project {self._job.project}" if self._job.project else "base images"
            raise ImageRefused(f"the quota of {owner} has no room for a disk of {size} bytes: {missing} bytes are missing")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(min(RENEW_SECONDS, self._seconds / 6)):
            self._report()
            if self._lost or self._stop.is_set():
                self._cancel.set()

    def _report(self) -> None:
        with suppress(ServiceUnavailable):  # if it lasts, the lease expires and the fence decides
            if not jobs.renew(self._database, self._job, *self._place, self._now(), self._seconds, self._fetched):
                self._lost = True


# docs/decisions.md#a-lease-is-measured-by-its-observer
class LeaseExpiry:
    """Detects expired leases of other workers: those not renewed for their length, on this worker's monotonic clock.

    Not thread-safe.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` is the length of a lease."""
        self._seconds = seconds
        self._clock = clock
        self._since: dict[JobLease, float] = {}

    def expired(self, leases: Iterable[JobLease]) -> list[JobLease]:
        """The expired ones of `leases`, which are all current ones. A lease is measured from the first call that saw it."""
        now = self._clock()
        self._since = {lease: self._since.get(lease, now) for lease in leases}  # a renewed lease is a different value
        return [lease for lease, since in self._since.items() if now - since > self._seconds]
