"""The pipeline from an original to a disk in the store. Independent of the catalogue; leftovers of a failure are collected.

    source ─verify, unpack─▶ file ─examine (two inspectors)─▶ convert unless raw ─examine the disk─▶ chunks, manifest

The header decides the format of a file. Nothing is written to the store before both inspectors agree on the whole file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from phimage.chunks.layout import CHUNKS, DiskDigest
from phimage.chunks.store import Store
from phimage.chunks.uploaded_chunks import ChunkSource
from phimage.chunks.uploads import UploadSource
from phimage.chunks.write import DiskWriter, Written, write_file
from phimage.formats import qemu
from phimage.formats.disk import DiskDescription, describe
from phimage.formats.errors import QemuFailed
from phimage.formats.examine import Examination, SecondOpinion, examine, examine_disk
from phimage.formats.finding import Finding
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import FileReader
from phimage.formats.table import Format
from phimage.model.image_bytes import DiskFacts, TableFacts
from phimage.model.job import Job
from phimage.publishing.errors import ImageRefused, refused_for
from phimage.publishing.original import (
    SECTOR,
    bounded,
    expected_of,
    fetch_file,
    is_plain,
    is_raw_disk,
    sent_digest,
    source_of,
    work_file,
)
from phimage.publishing.progress import CONVERT, EXAMINE, STORE, UNPACK, JobProgress
from phimage.sources.digest import Algorithm, Digest, Digests, ExpectedDigest, VerifyingReader
from phimage.sources.errors import DigestMismatch
from phimage.sources.fetch import Fetcher
from phimage.sources.partial_file import CHECK_EVERY_BYTES, FreeSpace, discard_partial
from phimage.sources.progress import TransferProgress
from phimage.sources.source import ImageSource, LocalFile
from phimage.sources.unpack import unpack_to, write_sparse


class StoredDisk(Struct, frozen=True):
    """A complete and verified disk in the store. `digest` is that of the original file, `sha256:<hex>`."""

    written: Written
    digest: str
    digest_origin: str
    format: str
    findings: tuple[str, ...]
    facts: DiskFacts


class Pipeline:
    """Turns originals into stored disks, in a work folder that several processes may share."""

    def __init__(
        self,
        store: Store,
        fetcher: Fetcher,
        work: Path,
        limits: DiskLimits,
        min_free: int,
        now: Callable[[], float] = time.time,
        *,
        tenants_fetcher: Fetcher,
        require_walls: bool = True,
        second_opinion: SecondOpinion | bool = True,
    ) -> None:
        """`fetcher` is for the URLs of operators, `tenants_fetcher` for those of tenants. `min_free` bytes stay free on the
        file system of the work folder, and in the store.

        With `require_walls` qemu-img is not started in a sandbox without a wall: a publication raises SetupError. Without
        `second_opinion` only phimage's own inspector examines a file, which is enough for files of a trusted origin alone.
        """
        self._store = store
        self._fetcher = fetcher
        self._tenants_fetcher = tenants_fetcher
        self._work = work
        self._limits = limits
        self._space = FreeSpace(work, min_free)
        self._min_free = min_free
        self._now = now
        self._require_walls = require_walls
        asked = partial(qemu.info, require_walls=require_walls) if second_opinion is True else second_opinion
        self._second_opinion = asked or None

    def run(self, job: Job, progress: JobProgress) -> StoredDisk:
        """Store the disk of a job. May be repeated: chunks that are in the store already are not written again.

        Raises ImageRefused, SourceError, SourceAway, StoreFailure, FormatError, WrongDisk, SetupError, OSError, and what
        `progress` raises.
        """
        # docs/decisions.md#work-files-carry-the-fence-of-their-job
        for fence in range(1, job.fence):  # files of previous workers, which were killed
            self.clean(replace(job, fence=fence))
        fetcher = self._tenants_fetcher if job.origin.tenant else self._fetcher
        expected = expected_of(job, fetcher, progress)
        source, where = source_of(job, expected, self._store, fetcher, self._work, self._limits, progress)
        # docs/decisions.md#uploads-by-chunks
        with self._writer_of(source, progress) or nullcontext() as writer:
            return self._stored_disk(job, source, where, expected, writer, progress)

    def clean(self, job: Job) -> None:
        """Remove the work files of a job's worker. The fetched file stays, so that a retry resumes."""
        for file in self._work.glob(f"{job.id}.{job.fence}.*"):
            file.unlink(missing_ok=True)

    def forget(self, job: Job) -> None:
        """Remove the fetched file of a published job."""
        if job.origin.url:
            discard_partial(fetch_file(self._work, job))

    def _stored_disk(
        self,
        job: Job,
        source: ImageSource,
        where: str,
        expected: ExpectedDigest,
        writer: DiskWriter | None,
        progress: JobProgress,
    ) -> StoredDisk:
        """Unpack, examine and convert an original, and store its disk. `writer` takes the chunks of one that was sent so."""
        file, digest = self._unpacked(job, source, where, expected, writer, progress)
        check = partial(self._check_digests, job, where, expected)
        overrides = frozenset(job.origin.overrides)
        progress.update(EXAMINE)
        file.chmod(0o644)  # so that qemu-img can read it as nobody; the folder is closed to other users
        examination = examine(file, stated=job.origin.format or None, limits=self._limits, second=self._second_opinion)
        refusals = examination.refusals(overrides)
        if not digest and (refusals or examination.virtual_size != examination.file_size):
            digest = self._digest(file, where, expected, check, progress)  # a wrong digest is the first reason
        if refusals:
            raise refused_for(refusals)
        assert examination.virtual_size is not None
        progress.reserve(examination.virtual_size)
        disk = self._raw(job, file, examination, progress)
        try:
            findings, facts = self._described(disk, overrides)
        except ImageRefused:
            if not digest:
                self._digest(file, where, expected, check, progress)
            raise
        unchecked = None if digest else check
        if writer is not None and disk == file and examination.virtual_size == source.size:
            written = _finish(writer, examination.virtual_size, facts, unchecked)
            progress.update(STORE, source.size, source.size)  # its chunks were put while they were unpacked
        else:
            written = self._stored(disk, examination.virtual_size, facts, progress, unchecked)
        remarks = dict.fromkeys(f"{finding.id}: {finding.text}" for finding in (*examination.findings, *findings))
        digest = digest or f"{Algorithm.SHA256}:{written.manifest.sha256}"
        return StoredDisk(written, digest, expected.origin, str(examination.format), tuple(remarks), facts)

    def _writer_of(self, source: ImageSource, progress: JobProgress) -> DiskWriter | None:
        """The writer of a disk that was sent in chunks, so that these are read once."""
        if not isinstance(source, ChunkSource) or not is_plain(source) or source.size % SECTOR:
            return None
        on_taken = self._on_taken(UNPACK, source.size, progress)
        return DiskWriter(self._store, source.size, chunk_size=source.chunk_size, now=self._now, progress=on_taken)

    def _unpacked(
        self,
        job: Job,
        source: ImageSource,
        where: str,
        expected: ExpectedDigest,
        writer: DiskWriter | None,
        progress: JobProgress,
    ) -> tuple[Path, str]:
        """The original without its compression, and its digest. Raises DigestMismatch, ImageRefused.

        The digest is "" for a raw disk: its bytes are the disk's, so storing them computes it.
        """
        progress.update(UNPACK, 0, source.size or 0)
        check = partial(self._check_digests, job, where, expected)
        if not is_plain(source):
            return self._decompressed(job, source, where, expected, check, progress)
        file = source.path if isinstance(source, LocalFile) else work_file(self._work, job, "file")
        if isinstance(source, UploadSource):
            write_sparse(source.pieces(), where, file, self._space, partial(progress.update, UNPACK, total=source.size))
        elif isinstance(source, ChunkSource):
            write_sparse(
                _arriving(source, writer), where, file, self._space, partial(progress.update, UNPACK, total=source.size)
            )
        # docs/decisions.md#a-raw-original-is-hashed-where-it-is-stored
        if is_raw_disk(file) and (expected.digest is None or expected.digest.algorithm is Algorithm.SHA256):
            return file, ""
        return file, self._digest(file, where, expected, check, progress)

    def _decompressed(
        self,
        job: Job,
        source: ImageSource,
        where: str,
        expected: ExpectedDigest,
        check: Callable[[Digests, int], None],
        progress: JobProgress,
    ) -> tuple[Path, str]:
        def on_progress(unpacked: TransferProgress) -> None:
            progress.update(UNPACK, unpacked.done, unpacked.total or 0)

        file = work_file(self._work, job, "file")
        with VerifyingReader(source.open(), expected, where) as reader:
            with bounded(self._limits, frozenset(job.origin.overrides)) as limits:
                unpack_to(reader, where, file, self._space, limits, total=source.size, on_progress=on_progress)
            digests = reader.finish()
        check(digests, reader.size)
        return file, str(digests[Algorithm.SHA256])

    def _digest(
        self,
        file: Path,
        where: str,
        expected: ExpectedDigest,
        check: Callable[[Digests, int], None],
        progress: JobProgress,
    ) -> str:
        """The digest of an original that is not compressed. Raises DigestMismatch."""
        with VerifyingReader(LocalFile(file).open(), expected, where) as reader:
            while reader.read(1 << 20):
                progress.update(UNPACK, reader.size)
            digests = reader.finish()
        check(digests, reader.size)
        return str(digests[Algorithm.SHA256])

    def _check_digests(self, job: Job, where: str, expected: ExpectedDigest, digests: Digests, size: int) -> None:
        """Raises DigestMismatch unless an original has the expected digest and the one that its sender declares."""
        expected.check(where, digests, size)
        sent = sent_digest(job)
        if sent is not None and digests[Algorithm.SHA256] != sent:
            actual = str(digests[Algorithm.SHA256])
            raise DigestMismatch(where, expected=str(sent), origin="declared by its sender", actual=actual, size=size)

    def _raw(self, job: Job, file: Path, examination: Examination, progress: JobProgress) -> Path:
        """The raw disk inside a file. Raises QemuFailed, TooLarge."""
        if examination.format in (Format.RAW, Format.ISO):
            return file
        assert examination.virtual_size is not None
        size, disk = examination.virtual_size, work_file(self._work, job, "raw")
        self._space.check(file.name, min(size, file.stat().st_size))

        def on_share(share: float) -> None:
            self._space.check(file.name, CHECK_EVERY_BYTES)
            progress.update(CONVERT, int(share * size), size)

        with self._space.writing(file.name):
            try:
                qemu.convert(file, examination.format, disk, size=size, on_share=on_share, require_walls=self._require_walls)
            except QemuFailed as failed:
                if os.strerror(errno.ENOSPC) in str(failed):  # it runs in the C locale
                    raise OSError(errno.ENOSPC, str(failed)) from failed
                raise
        return disk

    def _described(self, disk: Path, overrides: frozenset[str]) -> tuple[tuple[Finding, ...], DiskFacts]:
        """Findings about the disk, and its facts. Refuses a disk that programs could take for an image of another format."""
        with FileReader(disk) as reader:
            examination = examine_disk(reader, limits=self._limits)
            if refusals := examination.refusals(overrides):
                raise refused_for(refusals)
            return examination.findings, _facts_of(describe(reader))

    def _stored(
        self,
        disk: Path,
        size: int,
        facts: DiskFacts,
        progress: JobProgress,
        check: Callable[[Digests, int], None] | None,
    ) -> Written:
        """Write the disk into the store. A file whose size is not a multiple of 512 is padded with zeros.

        `check` is for the digest of a disk that is the original itself.
        """
        self._check_store()
        with DiskWriter(self._store, size, now=self._now, progress=self._on_taken(STORE, size, progress)) as writer:
            write_file(writer, disk)
            writer.zeros(size - writer.taken)
            return _finish(writer, size, facts, check)

    def _on_taken(self, phase: str, size: int, progress: JobProgress) -> Callable[[int], None]:
        """Reports the bytes that a writer took, and checks the store's free space."""
        checked = 0

        def on_taken(done: int) -> None:
            nonlocal checked
            if done >= checked:
                checked = done + CHECK_EVERY_BYTES
                self._check_store()
            progress.update(phase, done, size)

        return on_taken

    def _check_store(self) -> None:
        """Raises TooLarge when the store has less than the minimum free space."""
        free, chunks = self._store.free_bytes(), self._store.path(CHUNKS)
        if free is not None and chunks is not None:
            FreeSpace(chunks.parent, self._min_free, lambda _: free).check("the store", CHECK_EVERY_BYTES)


def _arriving(source: ChunkSource, writer: DiskWriter | None) -> Iterator[bytes | int]:
    """The bytes and zeros of a disk, which a writer gets with the very frames that were sent."""
    for piece in source.chunks():
        if isinstance(piece, int):
            if writer is not None:
                writer.zeros(piece)
            yield piece
            continue
        raw, each = piece
        if writer is not None:
            writer.chunk(raw, each.digest, each.frame)
        yield raw


def _finish(writer: DiskWriter, size: int, facts: DiskFacts, check: Callable[[Digests, int], None] | None) -> Written:
    """Put the manifest, after `check` of the disk's digest."""

    def check_disk(disk: DiskDigest) -> None:
        if check is not None:
            check({Algorithm.SHA256: Digest(Algorithm.SHA256, disk)}, size)

    # As JSON has it: with lists, like a manifest that was read back.
    return writer.finish(msgspec.json.decode(msgspec.json.encode(facts)), check=check_disk)


def _facts_of(disk: DiskDescription) -> DiskFacts:
    """What everyone who may see the image can read about its disk. The same disk always has the same facts."""
    return DiskFacts(
        boot=disk.boot,
        sector_size=disk.sector_size,
        table=TableFacts(disk.table, disk.id, disk.hybrid) if disk.table else None,
        partitions=disk.partitions if disk.table else None,
        filesystem=disk.filesystem,
        system=disk.system,
        kernels=disk.kernels,
    )
