"""Taking jobs, one after the other, and writing into the catalogue what came of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.errors import StoreFailure
from phimage.chunks.gc_guard import renew
from phimage.chunks.store import Store
from phimage.errors import PhimageError, ServiceUnavailable, SetupError
from phimage.model.image import Image, State
from phimage.model.image_bytes import ImageBytes, image_size
from phimage.model.job import Job
from phimage.publishing.errors import ImageRefused, Interrupted, JobLost, SourceAway
from phimage.publishing.expiry import expire
from phimage.publishing.lease import Lease
from phimage.publishing.lease_expiry import LeaseExpiry
from phimage.publishing.pipeline import Made, Pipeline
from phimage.sources.errors import SourceBroken
from phimage.sources.retry import PROGRESS, Retry, given_up

log = structlog.get_logger()

MAX_CLAIMS = 50
"""How often a job is begun: one that ends every worker is no good."""
BEFORE_SECONDS = 60.0
"""So long before the store may forget a disk it is looked after again rather than registered."""
LONGEST_PAUSE = 30.0
EXPIRE_SECONDS = 60.0
"""The period of ending abandoned and failed publications."""


class Pace(Struct, frozen=True):
    """Seconds: how long a lease is, and how often it is looked for work."""

    lease: float = jobs.LEASE_SECONDS
    look: float = 0.5


class Worker:
    """Publishes until it is told to stop."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        pipeline: Pipeline,
        owner: str,
        stop: threading.Event,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        retry: Retry | None = None,
    ) -> None:
        """`owner` names this worker in its jobs. `clock` is monotonic: leases are measured with it.

        `retry` says how often, and after what waits, a source that gives nothing is asked again.
        """
        self._catalog = catalog
        self._store = store
        self._pipeline = pipeline
        self._owner = owner
        self._stop = stop
        self._pace = pace or Pace()
        self._now = now
        self._retry = retry or Retry()
        self._leases = LeaseExpiry(self._pace.lease, clock)
        self._expired_at = -math.inf
        self.outcomes = dict.fromkeys(("done", "failed", "lost", "let_go"), 0)
        """How many jobs ended in each way, or were let go."""

    def run(self) -> None:
        """Work until `stop`. What is begun then is let go, and goes on with another worker."""
        pause = self._pace.look
        while not self._stop.is_set():
            try:
                self._catalog.refresh()  # takes no job of a database that asks for a newer program
                self.expire()
                job = self.claim()
                if job is not None and self.work(job):
                    pause = self._pace.look
                    continue
                pause = min(2 * pause, LONGEST_PAUSE) if job is not None else self._pace.look
            except ServiceUnavailable as error:
                log.warning("publisher.waits", reason=error.detail)
                pause = min(2 * pause, LONGEST_PAUSE)
            self._stop.wait(pause)

    def claim(self) -> Job | None:
        """The next job: a queued one, or one whose worker fell silent. Raises ServiceUnavailable."""
        database = self._catalog.database
        expired = self._leases.expired(jobs.leases(database))
        return jobs.claim(database, self._owner, self._now(), self._pace.lease, expired)

    def expire(self) -> None:
        """End abandoned and failed publications, at most once a minute. Raises ServiceUnavailable."""
        now = self._now()
        if 0 <= now - self._expired_at < EXPIRE_SECONDS:
            return
        self._expired_at = now
        author = Author("publisher", "publisher", "", "ExpirePublications", now)
        try:
            found = expire(self._catalog, self._store, author, now)
        except StoreFailure as failure:
            log.warning("publications.not_expired", reason=str(failure))
            return
        for id in found.jobs:
            with suppress(StoreFailure):  # a collection finds what is left
                uploads.remove(self._store, id)
        if found.jobs or found.images:
            log.info("publications.expired", given_up=found.jobs, withdrawn=found.images)

    def work(self, job: Job) -> bool:
        """Do a job to its end. False when it was let go, for a reason that may pass."""
        bound = log.bind(job=job.id, image=job.image)
        bound.info("job.begun", fence=job.fence)
        try:
            with Lease(self._catalog.database, job, self._pace.lease, self._stop, self._now) as lease:
                if job.fence > MAX_CLAIMS:
                    raise ImageRefused(f"publishing it was begun {job.fence - 1} times and never came to an end")
                made = self._pipeline.make(job, lease)
                self._register(job, made)
            ended = True
            self._pipeline.forget(job)
            done = {"manifest": made.written.digest, "new_bytes": made.written.new_bytes, "findings": made.findings}
            self.outcomes["done"] += 1
            bound.info("job.done", actor=job.actor, overrides=job.origin.overrides, **done)
        except JobLost:
            bound.warning("job.lost")
            self.outcomes["lost"] += 1
            self._pipeline.clean(job)
            return True  # whoever has it removes the upload
        except Interrupted:
            bound.info("job.let_go")
            self._let_go(job)
            return False
        except SourceAway as away:
            if self._postpone(job, away.broken):
                return True
            ended = self._fail(job, str(given_up(away.broken, job.failures + 1, away.broken.offset or 0)))
        except ServiceUnavailable as error:
            bound.warning("job.let_go", reason=error.detail)
            with suppress(ServiceUnavailable):
                self._let_go(job)
            return False
        except StoreFailure as failure:
            if failure.passing or failure.reason == "lost":
                bound.warning("job.let_go", reason=str(failure))
                self._let_go(job)
                return False
            ended = self._fail(job, str(failure))
        except SetupError:
            self._let_go(job)
            raise
        except (PhimageError, OSError) as error:
            ended = self._fail(job, str(error))
        except Exception:  # noqa: BLE001  whatever it is, the image must not stay Making for ever
            bound.exception("job.defect")
            ended = self._fail(job, f"an error inside phimage; its log has the id {job.id}")
        self._pipeline.clean(job)
        if ended:
            with suppress(StoreFailure):  # a collection finds what is left
                uploads.remove(self._store, job.id)
        return True

    def _register(self, job: Job, made: Made) -> None:
        """One revision: the image has its bytes and the job is done, or nothing has happened. Raises JobLost."""
        written, now = made.written, self._now()
        register_before = written.register_before
        if now > register_before - BEFORE_SECONDS:
            _, register_before = renew(self._store, written.digest, self._now)
        with self._catalog.change(self._author(job)) as change:
            if self._now() > register_before:
                raise StoreFailure("register", job.image, "lost", "it took too long", passing=True)
            image, content = self._held(change, job, "")
            size = image_size(written.manifest.size)
            if image.size and image.size < size:
                raise ImageRefused(f"the disk needs {size} GB and the image was announced with {image.size}")
            IMAGE_BYTES.put(
                change,
                replace(
                    content,
                    source_digest=made.digest,
                    digest_origin=made.digest_origin,
                    format=made.format,
                    overrides=job.origin.overrides,
                    manifest=written.digest,
                    sha256=written.manifest.sha256,
                    size=written.manifest.size,
                    published=int(now),
                    failure="",
                    findings=made.findings,
                    facts=made.facts,
                ),
            )
            IMAGES.put(change, replace(image, state=content.target_state, size=image.size or size))

    def _fail(self, job: Job, reason: str) -> bool:
        """One revision: the image is Unavailable, and it is known why. False, and nothing has happened, when it was lost."""
        bound = log.bind(job=job.id, image=job.image, reason=reason)
        try:
            with self._catalog.change(self._author(job)) as change:
                image, content = self._held(change, job, reason)
                IMAGE_BYTES.put(change, replace(content, failure=reason))
                IMAGES.put(change, replace(image, state=State.UNAVAILABLE))
        except JobLost:
            bound.warning("job.lost")
            self.outcomes["lost"] += 1
            return False
        bound.warning("job.failed")
        self.outcomes["failed"] += 1
        return True

    def _postpone(self, job: Job, broken: SourceBroken) -> bool:
        """Let the job of a source that gives nothing wait, so that others go first. False when it was tried often enough."""
        failures = 1 if broken.gained >= PROGRESS else job.failures + 1
        if failures >= self._retry.tries:
            return False
        seconds = self._retry.wait(failures, broken.after)
        kept = jobs.postpone(self._catalog.database, job, self._now() + seconds, failures, str(broken))
        self.outcomes["let_go" if kept else "lost"] += 1
        log.warning("job.postponed" if kept else "job.lost", job=job.id, image=job.image, seconds=seconds, reason=str(broken))
        return True

    def _let_go(self, job: Job) -> None:
        self.outcomes["let_go"] += 1
        jobs.release(self._catalog.database, job)

    def _held(self, change: Change, job: Job, error: str) -> tuple[Image, ImageBytes]:
        """End the job and get what it is about. Raises JobLost when it was lost, or its image is gone."""
        if not jobs.finish(change.connection, job, error):
            raise JobLost(job.id)
        image = IMAGES.find(change.connection, job.image)
        content = IMAGE_BYTES.find(change.connection, job.image)
        if image is None or content is None or content.stored:
            raise JobLost(job.id)
        return image, content

    def _author(self, job: Job) -> Author:
        return Author(job.actor, "publisher", job.id, "PublishPHostImage", self._now())
