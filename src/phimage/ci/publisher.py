"""The publisher of a world: it claims jobs like any publisher, and works on each when its transition is due.

It has no thread that polls. It looks for work when a request arrives and when the clock is moved, so what a client reads
depends on what was sent before and on nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from msgspec import Struct

from phimage.actions.progress import RECEIVED, SHARES, UPLOAD
from phimage.catalog import jobs
from phimage.catalog.views import Catalog
from phimage.chunks.store import Store
from phimage.ci.transition import IMMEDIATE, Transition
from phimage.errors import SetupError
from phimage.formats import qemu
from phimage.formats.table import Format
from phimage.model.ids import JobId
from phimage.model.job import Job
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.progress import FETCH, STORE
from phimage.publishing.worker import Pace, Worker

MAX_CLAIMED = 1000
"""Jobs that are claimed at a time: one that goes back into the queue is not claimed again at once."""


class HeldJob(Struct):
    """A claimed job that waits for its transition: since when, and in how many answers its image was seen."""

    job: Job
    since: float
    looks: int = 0


# docs/decisions.md#jobs-of-a-world-end-when-someone-looks
class WorldPublisher:
    """Claims the jobs of a world and ends them when they are due. One thread at a time calls `settle`."""

    def __init__(self, catalog: Catalog, store: Store, pipeline: Pipeline, now: Callable[[], float]) -> None:
        """`now` is the world's clock."""
        self._catalog = catalog
        self._now = now
        # Nobody else claims jobs, so no lease expires however long a job is held. And what the clock says has passed.
        pace = Pace(silence=0)
        self._worker = Worker(catalog, store, pipeline, "ci", threading.Event(), pace, now=now, clock=lambda: 0.0)
        self._held: dict[JobId, HeldJob] = {}
        self._transitions: dict[str, Transition] = {"": IMMEDIATE}
        self.has_news = True
        """Whether a job may have been queued, or become due, since the last `settle`."""

    @property
    def transitions(self) -> Mapping[str, Transition]:
        """The transitions by the id of an image or the name of a host; that of all others has the name ""."""
        return self._transitions.copy()  # a seed may be planted beside the reader

    def follow(self, transition: Transition, name: str = "") -> None:
        """Follow a transition for one image or host, or for all that have none of their own."""
        self._transitions[name] = transition
        self.has_news = True

    def transition_of(self, *names: str) -> Transition:
        """The transition of the first name that has one of its own, or that of all others."""
        return next(self._transitions[name] for name in (*names, "") if name in self._transitions)

    def look(self, answer: bytes) -> None:
        """Count a look at every image whose id is in an answer."""
        for held in tuple(self._held.values()):  # a thread may settle beside it
            if held.job.image.encode() in answer:
                held.looks += 1
                self.has_news = True

    def settle(self) -> None:
        """Claim what is queued, and end what is due. Raises ServiceUnavailable."""
        self.has_news = False
        self._worker.expire()
        for _ in range(MAX_CLAIMED):
            job = self._worker.claim()
            if job is None:
                break
            self._held[job.id] = HeldJob(job, self._now())
        for held in list(self._held.values()):
            self._step(held)

    def _step(self, held: HeldJob) -> None:
        job, seconds = held.job, self._now() - held.since
        # The transition of a capture was that of its order, which the agent of the host has done.
        transition = IMMEDIATE if job.origin.host else self.transition_of(job.image)
        if not transition.is_due(seconds, held.looks):
            self._report(job, transition.share(seconds, held.looks))
            return
        del self._held[job.id]
        if transition.failure:
            self._worker.refuse(job, transition.failure)
            return
        try:
            self._worker.work(job)
        except SetupError as error:  # this machine lacks qemu-img or a wall; nobody will mend it while tests run
            again = self._worker.claim()
            if again is not None:
                self._worker.refuse(again, str(error))

    def _report(self, job: Job, share: float) -> None:
        """Renew the lease, with the phase and bytes that a real publication would have. Forgets a cancelled job."""
        phase, done = _place(job, share)
        total = job.origin.size or 100
        if not jobs.renew(self._catalog.database, job, phase, int(done * total), total, self._now()):
            self._held.pop(job.id, None)


def _place(job: Job, share: float) -> tuple[str, float]:
    """The phase of a publication that is so far on its way, and the share of the phase that is done."""
    begin, end = (0.0 if job.origin.url else RECEIVED), SHARES[STORE][1]
    percent = begin + share * (end - begin)
    skipped = UPLOAD if job.origin.url else FETCH
    for phase, (first, last) in SHARES.items():
        if phase not in (UPLOAD, skipped) and first <= percent < last:
            return phase, (percent - first) / (last - first)
    return STORE, 1.0


def second_opinion(file: int, format: Format) -> qemu.QemuInfo:
    """The second opinion on a file. On a raw disk nobody has another one, so none is asked, and qemu-img need not be there."""
    if format in (Format.RAW, Format.ISO):
        size = os.fstat(file).st_size
        return qemu.QemuInfo("raw", -(-size // 512) * 512, "")
    return qemu.info(file, format)
