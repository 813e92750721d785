"""From an original to a disk in the store. Knows nothing of the catalogue; what it leaves behind on failure is collected.

    source ─verify, unpack─▶ file ─examine (two inspectors)─▶ convert unless raw ─examine the disk─▶ chunks, manifest

What a file is decides its header; nothing is written to the store before both inspectors agree on the whole file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from phimage.chunks.layout import CHUNKS
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written, write_file
from phimage.formats import qemu
from phimage.formats.disk import describe
from phimage.formats.examine import Examination, examine, examine_disk
from phimage.formats.failure import QemuFailed
from phimage.formats.finding import Finding
from phimage.formats.limits import Limits
from phimage.formats.reader import FileReader
from phimage.formats.signature import Format
from phimage.model.image_bytes import DiskFacts
from phimage.model.job import Job
from phimage.publishing.errors import refused_for
from phimage.publishing.facts import facts_of
from phimage.publishing.original import bounded, expected_of, fetch_file, is_plain, sent_digest, source_of, work_file
from phimage.publishing.progress import CONVERT, EXAMINE, STORE, UNPACK, JobProgress
from phimage.sources.digest import Algorithm, Expected
from phimage.sources.errors import WrongDigest
from phimage.sources.fetch import Fetcher
from phimage.sources.local import LocalFile
from phimage.sources.partial import discard
from phimage.sources.progress import Progress
from phimage.sources.source import Source
from phimage.sources.space import EVERY, Room
from phimage.sources.unpacked import unpack_to
from phimage.sources.verify import Verified


class Made(Struct, frozen=True):
    """A disk that is whole and verified in the store. `digest` is that of the original file, `sha256:<hex>`."""

    written: Written
    digest: str
    digest_origin: str
    format: str
    findings: tuple[str, ...]
    facts: DiskFacts


class Pipeline:
    """Makes disks, in a work folder that several processes may share."""

    def __init__(
        self,
        store: Store,
        fetcher: Fetcher,
        work: Path,
        limits: Limits,
        reserve: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`reserve` bytes stay free where the work folder is, and in the store."""
        self._store = store
        self._fetcher = fetcher
        self._work = work
        self._limits = limits
        self._room = Room(work, reserve)
        self._reserve = reserve
        self._now = now

    def make(self, job: Job, step: JobProgress) -> Made:
        """Make the disk of a job. May be repeated: what is in the store already is not written again.

        Raises ImageRefused, SourceError, SourceAway, StoreFailure, FormatError, WrongDisk, OSError, and what `step` raises.
        """
        for fence in range(1, job.fence):  # of who had it before and was killed
            self.clean(replace(job, fence=fence))
        expected = expected_of(job, self._fetcher, step)
        source, where = source_of(job, expected, self._store, self._fetcher, self._work, self._limits, step)
        file, digest = self._unpacked(job, source, where, expected, step)
        overrides = frozenset(job.origin.overrides)
        step.at(EXAMINE)
        file.chmod(0o644)  # so that qemu-img reads it as nobody; the folder is closed to others
        examination = examine(file, stated=job.origin.format or None, limits=self._limits)
        if refusals := examination.refusals(overrides):
            raise refused_for(refusals)
        assert examination.virtual_size is not None
        step.reserve(examination.virtual_size)
        disk = self._raw(job, file, examination, step)
        found, facts = self._described(disk, overrides)
        written = self._stored(disk, examination.virtual_size, facts, step)
        remarks = dict.fromkeys(f"{finding.id}: {finding.text}" for finding in (*examination.findings, *found))
        return Made(written, digest, expected.origin, str(examination.format), tuple(remarks), facts)

    def clean(self, job: Job) -> None:
        """Remove what a worker that had a job left in the work folder. What was fetched stays for a while, for another try."""
        for file in self._work.glob(f"{job.id}.{job.fence}.*"):
            file.unlink(missing_ok=True)

    def forget(self, job: Job) -> None:
        """The disk of a job is published: what was fetched for it is of no use any more."""
        if job.origin.url:
            discard(fetch_file(self._work, job))

    def _unpacked(self, job: Job, source: Source, where: str, expected: Expected, step: JobProgress) -> tuple[Path, str]:
        """The original without its compression, and its digest. Raises WrongDigest, ImageRefused."""

        def tell(progress: Progress) -> None:
            step.at(UNPACK, progress.done, progress.total or 0)

        step.at(UNPACK, 0, source.size or 0)
        plain, overrides = is_plain(source), frozenset(job.origin.overrides)
        with Verified(source.open(), expected, where) as reader:
            if plain and isinstance(source, LocalFile):
                file = source.path
                while reader.read(1 << 20):
                    step.at(UNPACK, reader.size, source.size)
            else:
                file = work_file(self._work, job, "file")
                with bounded(self._limits, overrides) as bounds:
                    unpack_to(reader, where, file, self._room, None if plain else bounds, total=source.size, tell=tell)
            digests = reader.finish()
        sent = sent_digest(job)
        if sent is not None and digests[Algorithm.SHA256] != sent:
            found = str(digests[Algorithm.SHA256])
            raise WrongDigest(where, expected=str(sent), origin="told by who sent it", found=found, size=reader.size)
        return file, str(digests[Algorithm.SHA256])

    def _raw(self, job: Job, file: Path, examination: Examination, step: JobProgress) -> Path:
        """The raw disk inside of a file. Raises QemuFailed, TooLarge."""
        if examination.format in (Format.RAW, Format.ISO):
            return file
        assert examination.virtual_size is not None
        size, disk = examination.virtual_size, work_file(self._work, job, "raw")
        self._room.check(file.name, min(size, file.stat().st_size))

        def progress(share: float) -> None:
            self._room.check(file.name, EVERY)
            step.at(CONVERT, int(share * size), size)

        with self._room.writing(file.name):
            try:
                qemu.convert(file, examination.format, disk, size=size, progress=progress)
            except QemuFailed as failed:
                if os.strerror(errno.ENOSPC) in str(failed):  # it runs in the C locale
                    raise OSError(errno.ENOSPC, str(failed)) from failed
                raise
        return disk

    def _described(self, disk: Path, overrides: frozenset[str]) -> tuple[tuple[Finding, ...], DiskFacts]:
        """What is remarkable about the disk, and what it is. One that a guessing program would take for an image of another
        format is refused."""
        with FileReader(disk) as reader:
            examination = examine_disk(reader, limits=self._limits)
            if refusals := examination.refusals(overrides):
                raise refused_for(refusals)
            return examination.findings, facts_of(describe(reader))

    def _stored(self, disk: Path, size: int, facts: DiskFacts, step: JobProgress) -> Written:
        """Cut into chunks, put, named by a manifest. A file whose size is no multiple of 512 is filled up with zeros."""
        looked = 0

        def progress(done: int) -> None:
            nonlocal looked
            if done >= looked:
                looked = done + EVERY
                self._check_store()
            step.at(STORE, done, size)

        self._check_store()
        with DiskWriter(self._store, size, now=self._now, progress=progress) as writer:
            write_file(writer, disk)
            writer.zeros(size - writer.taken)
            # As JSON has it: with lists, like a manifest that was read back.
            return writer.finish(msgspec.json.decode(msgspec.json.encode(facts)))

    def _check_store(self) -> None:
        """Raises TooLarge when the store has less room than must stay free."""
        free, chunks = self._store.free_bytes(), self._store.path(CHUNKS)
        if free is not None and chunks is not None:
            Room(chunks.parent, self._reserve, lambda _: free).check("the store", EVERY)
