"""A place to publish in: a catalogue with one image that waits for its bytes, a store, a worker; and small real disks."""

from __future__ import annotations

import base64
import hashlib
import random
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES, expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog
from phimage.chunk_upload import FileDisk, send_disk
from phimage.chunks import uploaded_chunks, uploads
from phimage.chunks.read import open_disk
from phimage.chunks.store import Store
from phimage.formats.limits import DiskLimits
from phimage.model.ids import ClusterId, ImageId, JobId, MachineTypeId, ProjectId, ZoneId
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job, Origin, new_job
from phimage.publishing.original import IN_PLACE
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.worker import Pace, Worker
from phimage.sources.address_policy import PUBLIC_INTERNET, AddressPolicy
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from tests.formats.real_disk import sfdisk

MIB = 1 << 20
AUTHOR = Author("operator/main key", "127.0.0.1", "request", "PublishPHostImage", 1_800_000_000.0)


def disk(folder: Path, *, mebibytes: int = 6, seed: int = 1) -> Path:
    """A raw disk with a partition table and seeded bytes, some MiB of it empty."""
    path = folder / f"disk-{seed}.raw"
    sfdisk(path, "label: dos\nstart=2048, type=83, bootable\n", mebibytes * MIB)
    chance = random.Random(seed)
    with path.open("r+b") as file:
        file.seek(440)  # the disk's own id in its partition table
        file.write(seed.to_bytes(4, "little"))
        for number in range(1, mebibytes, 2):
            file.seek(number * MIB)
            file.write(chance.randbytes(MIB // 2))
    return path


def as_qcow2(raw: Path, *options: str) -> Path:
    """The same disk as qcow2."""
    path = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(path)], check=True)
    return path


def sha256_of(path: Path) -> str:
    """As `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image(number: int = 1, project: ProjectId = NO_PROJECT, size: int = 0) -> Image:
    """An image that waits for its bytes."""
    return Image(
        id=ImageId(f"pimg-cs-test{number:04}"),
        type=ImageType.CUSTOM if project else ImageType.BASE,
        project=project,
        family="",
        name=f"image {number}",
        os_type="Debian",
        os_name="Debian 12 64bit",
        version="1",
        description="",
        state=State.MAKING,
        deprecated=False,
        size=size,
        created=1_800_000_000,
        zones=(ZoneId("north-a"),),
        support={MachineTypeId("DB-2"): (ClusterId("10G"),)},
    )


class UploadExpired(Exception):
    """The upload took longer than an idle upload may last, which is an hour of the shop's clock."""


class Shop:
    """A worker with everything that it needs."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        work: Path,
        pace: Pace | None = None,
        policy: AddressPolicy | None = None,
        now: Callable[[], float] = time.time,
        *,
        times: HttpTimeouts | None = None,
        limits: DiskLimits | None = None,
        retry: Retry | None = None,
        author: Author = AUTHOR,
    ) -> None:
        """`times` and `retry` are for the sources of jobs, `limits` for their disks, `author` for revisions."""
        work.mkdir(exist_ok=True)
        self.catalog = catalog
        self.store = store
        self.work = work
        self.stop = threading.Event()
        self.author = author
        self._now = now
        fetcher = Fetcher(HttpClient(policy or AddressPolicy(), timeouts=times), retry=IN_PLACE)
        public = Fetcher(HttpClient(PUBLIC_INTERNET, timeouts=times), retry=IN_PLACE)
        self.pipeline = Pipeline(store, fetcher, work, limits or DiskLimits(), min_free=0, now=now, tenants_fetcher=public)
        pace = pace or Pace(lease=5, look=0.05)
        self.worker = Worker(catalog, store, self.pipeline, "worker", self.stop, pace, now, retry=retry)

    def begin(
        self,
        file: Path,
        number: int = 1,
        *,
        made: Image | None = None,
        put: Callable[[Job], object] | None = None,
        **origin: object,
    ) -> Job:
        """Create an image that waits for an upload, and put all parts of a file. `origin` replaces declared facts."""
        made = made or image(number)
        told = replace(Origin(digest=f"sha256:{sha256_of(file)}", size=file.stat().st_size, name=file.name), **origin)
        job = new_job(
            JobId(f"job-{number}"),
            made.id,
            told,
            self._now(),
            project=made.project,
            actor=self.author.actor,
            reserved=file.stat().st_size,
        )
        with self.catalog.change(self.author) as change:
            IMAGES.put(change, made)
            expect_image_bytes(change, job)
        self.put(job, file.read_bytes()) if put is None else put(job)
        with self.catalog.database.write() as connection:
            if not jobs.queue(connection, job.id):
                raise UploadExpired(job.id)
        return job

    def begin_by_chunks(self, file: Path, number: int = 1, **origin: Any) -> Job:
        """Like `begin`, but the file is sent by chunks."""

        def put(job: Job) -> None:
            with FileDisk(str(file)) as opened:
                send_disk(opened, partial(self._take_chunks, job.id))

        return self.begin(file, number, put=put, **origin)

    def _take_chunks(self, job: JobId, method: str, below: str, body: bytes) -> bytes:
        if below == "need":
            asked, sent = uploaded_chunks.read_digests(body), uploaded_chunks.sent_chunks(self.store, job)
            bits = sum(1 << number for number, digest in enumerate(asked) if digest not in sent)
            needed = bits.to_bytes(-(-len(asked) // 8), "little")
            return msgspec.json.encode({"Need": base64.b64encode(needed).decode()})
        if below == "chunks":
            uploaded_chunks.put_frames(self.store, job, uploaded_chunks.read_frames(body))
        else:
            uploaded_chunks.read_seal(body)
            uploaded_chunks.put_seal(self.store, job, body)
        return b"{}"

    def begin_url(self, url: str, number: int = 1, *, token: str = "", **origin: object) -> Job:
        """Create an image that waits for the bytes of a URL."""
        made, told = image(number), replace(Origin(url=url), **origin)
        job = new_job(JobId(f"job-{number}"), made.id, told, self._now(), actor=self.author.actor, token=token)
        with self.catalog.change(self.author) as change:
            IMAGES.put(change, made)
            expect_image_bytes(change, job)
        return job

    def put(self, job: Job, data: bytes) -> None:
        """Put all parts of an upload."""
        for number, start in enumerate(range(0, len(data), uploads.PART)):
            raw = data[start : start + uploads.PART]
            uploads.put_part(self.store, job.id, number, uploads.pack_part(raw, hashlib.sha256(raw).digest()))

    def work_once(self) -> Job:
        """Run the next job and return its outcome."""
        claimed = jobs.claim(self.catalog.database, "worker", 2_000_000_000.0, 5)
        assert claimed is not None
        self.worker.work(claimed)
        return self.job(claimed.id)

    def job(self, id: JobId) -> Job:
        """The present state of a job."""
        with self.catalog.database.read() as connection:
            found = jobs.find(connection, id)
        assert found is not None
        return found

    def image(self, id: ImageId) -> Image:
        """The present state of an image."""
        with self.catalog.database.read() as connection:
            found = IMAGES.find(connection, id)
        assert found is not None
        return found

    def content(self, id: ImageId) -> ImageBytes:
        """The facts of its bytes."""
        with self.catalog.database.read() as connection:
            found = IMAGE_BYTES.find(connection, id)
        assert found is not None
        return found

    def bytes_of(self, id: ImageId) -> bytes:
        """The disk, read from the store."""
        return b"".join(open_disk(self.store, self.content(id).manifest).chunks())
