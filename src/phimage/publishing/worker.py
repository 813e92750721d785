"""The worker: claims jobs one after the other, runs the pipeline, and records the outcome in the catalogue."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import PUBLISHER, Author, Change
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.errors import BadManifest, BadUpload, Lost, StoreFailure
from phimage.chunks.gc_guard import renew
from phimage.chunks.layout import MANIFESTS, manifest_name
from phimage.chunks.store import Store
from phimage.errors import PhimageError, ServiceUnavailable, SetupError
from phimage.event_log import log
from phimage.model.image import Image, State
from phimage.model.image_bytes import ImageBytes, image_size
from phimage.model.job import Job
from phimage.model.order import LEASE_SECONDS
from phimage.publishing.errors import ImageRefused, Interrupted, JobLost, SourceAway
from phimage.publishing.expiry import SilenceWatch, deprecate_due, expire
from phimage.publishing.lease import LeaseExpiry, LeaseKeeper
from phimage.publishing.pipeline import Pipeline, StoredDisk
from phimage.sources.errors import SourceError, SourceInterrupted, TooLarge, UnpackRefused
from phimage.sources.retry import PROGRESS_BYTES, Retry, retries_exhausted

MAX_CLAIMS = 50
"""Max claims of a job, for jobs that kill every worker."""
BEFORE_SECONDS = 60.0
"""Seconds before `register_before` from which a disk is renewed before it is registered."""
MAX_PAUSE = 30.0
EXPIRE_SECONDS = 60.0
"""Seconds between two expiries of abandoned and failed publications."""


class Pace(Struct, frozen=True):
    """The length of a lease, the interval of polling for jobs, and how long agents may still speak, in seconds."""

    lease: float = jobs.LEASE_SECONDS
    look: float = 0.2
    silence: float = LEASE_SECONDS


class Worker:
    """Publishes images until it is stopped."""

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
        """`owner` names this worker in its jobs. `clock` is monotonic and measures leases.

        `retry` has the max attempts and the waits for a source that sends nothing.
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
        self._silence = SilenceWatch(self._pace.silence, clock)
        self._expired_at = -math.inf
        self._store_failed = False
        self.outcomes = dict.fromkeys(("done", "failed", "lost", "let_go"), 0)
        """The number of jobs by outcome; `let_go` counts jobs put back into the queue."""

    def run(self) -> None:
        """Work until `stop` is set. The present job then goes back into the queue, for another worker."""
        pause = self._pace.look
        while not self._stop.is_set():
            try:
                self._catalog.refresh()  # raises when the database needs a newer program, so no job is claimed
                self.expire()
                job = self.claim() if self._store_answers() else None
                if job is not None and self.work(job):
                    pause = self._pace.look
                    continue
                pause = min(2 * pause, MAX_PAUSE) if job is not None or self._store_failed else self._pace.look
            except ServiceUnavailable as error:
                log.warning("publisher.waits", reason=error.detail)
                pause = min(2 * pause, MAX_PAUSE)
            self._stop.wait(pause)

    def claim(self) -> Job | None:
        """Claim the next job: a queued one, or one with an expired lease. Raises ServiceUnavailable."""
        database = self._catalog.database
        expired = self._leases.expired(jobs.leases(database))
        return jobs.claim(database, self._owner, self._now(), self._pace.lease, expired)

    def _store_answers(self) -> bool:
        """Whether the store that failed the last job answers again. Until then no job is claimed: claims are counted."""
        if self._store_failed:
            try:
                self._store.find(f"{MANIFESTS}/answers")
                self._store_failed = False
            except StoreFailure as failure:
                self._store_failed = failure.passing
        return not self._store_failed

    def expire(self) -> None:
        """End abandoned and failed publications and deprecate what is due, at most once a minute. Raises ServiceUnavailable."""
        now = self._now()
        if 0 <= now - self._expired_at < EXPIRE_SECONDS:
            return
        self._expired_at = now
        deprecated = deprecate_due(self._catalog, Author("publisher", "publisher", "", "DeprecateImages", now), now)
        if deprecated:
            log.info("images.deprecated", images=deprecated)
        silent = self._silence.end(self._catalog, Author("publisher", "publisher", "", "EndSilentOrders", now), now)
        if silent:
            log.warning("orders.ended", orders=silent, reason="their agents were silent")
        author = Author("publisher", "publisher", "", "ExpirePublications", now)
        try:
            expired = expire(self._catalog, self._store, author, now)
        except StoreFailure as failure:
            log.warning("publications.not_expired", reason=str(failure))
            return
        for id in expired.jobs:
            with suppress(StoreFailure):  # a garbage collection removes the rest
                uploads.remove(self._store, id)
        if expired.jobs or expired.images:
            log.info("publications.expired", ended=expired.jobs, withdrawn=expired.images)

    def work(self, job: Job) -> bool:
        """Run a job. Returns False when it went back into the queue for a reason that may pass."""
        bound = log.bind(job=job.id, image=job.image)
        bound.info("job.begun", fence=job.fence)
        try:
            with LeaseKeeper(self._catalog.database, job, self._pace.lease, self._stop, self._now) as lease:
                if job.fence > MAX_CLAIMS:
                    raise ImageRefused(f"its publication was started {job.fence - 1} times and never finished; see the log")
                disk = self._pipeline.run(job, lease)
                self._register(job, disk)
            ended = True
            self._pipeline.forget(job)
            done = {"manifest": disk.written.digest, "new_bytes": disk.written.new_bytes, "findings": disk.findings}
            self.outcomes["done"] += 1
            bound.info("job.done", actor=job.actor, overrides=job.origin.overrides, **done)
        except JobLost:
            bound.warning("job.lost")
            self.outcomes["lost"] += 1
            self._pipeline.clean(job)
            return True  # its present worker removes the upload
        except Interrupted:
            bound.info("job.let_go")
            self._let_go(job)
            return False
        except SourceAway as away:
            if self._postpone(job, away.cause):
                return True
            ended = self._fail(job, str(retries_exhausted(away.cause, job.failures + 1, away.cause.offset or 0)))
        except ServiceUnavailable as error:
            bound.warning("job.let_go", reason=error.detail)
            with suppress(ServiceUnavailable):
                self._let_go(job)
            return False
        except StoreFailure as failure:
            if failure.passing or failure.reason == "lost":
                self._store_failed = failure.passing
                bound.warning("job.let_go", reason=str(failure))
                self._let_go(job)
                return False
            ended = self._fail(job, str(failure), internal=True)
        except SetupError:
            self._let_go(job)
            raise
        except (ImageRefused, SourceError, BadUpload) as error:
            of_server = isinstance(error, TooLarge) and error.reason == "space"
            ended = self._fail(job, str(error), internal=of_server)
            if ended and isinstance(error, ImageRefused | UnpackRefused):
                self._pipeline.forget(job)  # else the same request would find the same bytes, whatever its source has then
        except (PhimageError, OSError) as error:
            ended = self._fail(job, str(error), internal=True)
        except Exception as error:  # noqa: BLE001  the image must not stay Making for ever
            bound.exception("job.defect", error)
            ended = self._fail(job, _internal(job))
        self._pipeline.clean(job)
        if ended:
            with suppress(StoreFailure):  # a garbage collection removes the rest
                uploads.remove(self._store, job.id)
        return True

    def refuse(self, job: Job, reason: str) -> None:
        """End a claimed job with a failure, without working on it. Raises ServiceUnavailable."""
        if self._fail(job, reason):
            with suppress(StoreFailure):  # a garbage collection removes the rest
                uploads.remove(self._store, job.id)

    def _register(self, job: Job, disk: StoredDisk) -> None:
        """Give the image its bytes and finish the job, in one revision. Raises JobLost, and then changes nothing."""
        written, now = disk.written, self._now()
        register_before = written.register_before
        if now > register_before - BEFORE_SECONDS:
            try:
                _, register_before = renew(self._store, written.digest, self._now)
            except BadManifest as gone:  # this worker was paused, and a collection ran
                raise Lost(manifest_name(written.digest)) from gone
        with self._catalog.change(self._author(job)) as change:
            if self._now() > register_before:
                raise StoreFailure("register", job.image, "lost", "the registration took too long", passing=True)
            image, content = self._held(change, job, "", written.reused_bytes)
            size = image_size(written.manifest.size)
            if image.size and image.size < size:
                raise ImageRefused(f"the disk needs {size} GB, but the image was declared with {image.size} GB")
            IMAGE_BYTES.put(
                change,
                replace(
                    content,
                    source_digest=disk.digest,
                    digest_origin=disk.digest_origin,
                    format=disk.format,
                    overrides=job.origin.overrides,
                    manifest=written.digest,
                    sha256=written.manifest.sha256,
                    size=written.manifest.size,
                    published=int(now),
                    failure="",
                    findings=disk.findings,
                    facts=disk.facts,
                ),
            )
            IMAGES.put(change, replace(image, state=content.target_state, size=image.size or size))

    def _fail(self, job: Job, reason: str, *, internal: bool = False) -> bool:
        """Make the image Unavailable with a reason, in one revision. Returns False, without effect, when the job was lost.

        An `internal` reason is about this installation: a tenant's job, whose error the tenant sees, does not have it.
        """
        bound = log.bind(job=job.id, image=job.image, reason=reason)
        try:
            with self._catalog.change(self._author(job)) as change:
                image, content = self._held(change, job, _internal(job) if internal and job.origin.tenant else reason)
                IMAGE_BYTES.put(change, replace(content, failure=reason))
                IMAGES.put(change, replace(image, state=State.UNAVAILABLE))
        except JobLost:
            bound.warning("job.lost")
            self.outcomes["lost"] += 1
            return False
        bound.warning("job.failed")
        self.outcomes["failed"] += 1
        return True

    def _postpone(self, job: Job, cause: SourceInterrupted) -> bool:
        """Postpone the job of a source that sends nothing. Returns False when its attempts are exhausted."""
        failures = 1 if cause.gained >= PROGRESS_BYTES else job.failures + 1
        if failures >= self._retry.tries:
            return False
        seconds = self._retry.wait(failures, cause.after)
        kept = jobs.postpone(self._catalog.database, job, self._now() + seconds, failures, str(cause))
        self.outcomes["let_go" if kept else "lost"] += 1
        log.warning("job.postponed" if kept else "job.lost", job=job.id, image=job.image, seconds=seconds, reason=str(cause))
        return True

    def _let_go(self, job: Job) -> None:
        self.outcomes["let_go"] += 1
        jobs.release(self._catalog.database, job)

    def _held(self, change: Change, job: Job, error: str, reused: int = 0) -> tuple[Image, ImageBytes]:
        """Finish the job and return its image. Raises JobLost when the job was lost or the image is gone."""
        if not jobs.finish(change.connection, job, error, reused):
            raise JobLost(job.id)
        image = IMAGES.find(change.connection, job.image)
        content = IMAGE_BYTES.find(change.connection, job.image)
        if image is None or content is None or content.stored:
            raise JobLost(job.id)
        return image, content

    def _author(self, job: Job) -> Author:
        return Author(job.actor, PUBLISHER, job.id, "PublishPHostImage", self._now())


def _internal(job: Job) -> str:
    return f"an error inside phimage; ask its operator, whose log has the id {job.id}"
