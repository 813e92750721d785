"""The pipeline from an original to a disk in the store. Independent of the catalogue; leftovers of a failure are collected.

    raw disk, in order   source ─unpack─▶ chunks ─examine what was stored─▶ manifest
    any other            source ─unpack─▶ file ─examine─▶ convert unless raw ─examine the disk─▶ chunks, manifest

The header decides the format of a file. No manifest is put before both inspectors agree on the whole file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from phimage.chunks.errors import BadChunk, Lost
from phimage.chunks.layout import CHUNKS, ChunkDigest, DiskDigest, chunk_name
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written, write_file
from phimage.formats import hygiene, qemu
from phimage.formats.disk import DiskDescription, describe
from phimage.formats.errors import QemuFailed
from phimage.formats.examine import Examination, SecondOpinion, examine, examine_disk
from phimage.formats.finding import Finding
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import FileReader, ReaderAt
from phimage.formats.recognise import recognise
from phimage.formats.table import Format
from phimage.model.image_bytes import DiskFacts, TableFacts
from phimage.model.job import Job
from phimage.publishing.contents import Contents, unpacked, write_pieces
from phimage.publishing.errors import ImageRefused, refused_for
from phimage.publishing.original import (
    SECTOR,
    Original,
    fetch_file,
    is_plain,
    is_raw,
    is_raw_disk,
    open_original,
    work_file,
)
from phimage.publishing.progress import CONVERT, EXAMINE, STORE, UNPACK, JobProgress
from phimage.publishing.stored_reader import StoredReader, write_outline
from phimage.sources.digest import Algorithm, Digest, VerifyingReader
from phimage.sources.fetch import Fetcher
from phimage.sources.partial_file import CHECK_EVERY_BYTES, FreeSpace, discard_partial
from phimage.sources.source import LocalFile
from phimage.sources.unpack import write_sparse

_RESERVED_AT_ONCE = 256 << 20
"""Bytes that a disk of unknown size may grow before its project's quota must have room for them."""


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
        original = open_original(job, self._store, fetcher, self._work, self._limits, progress)
        if isinstance(original.source, LocalFile) and is_plain(original.source):
            progress.update(UNPACK, 0, original.source.size)
            return self._from_file(job, original, original.source.path, "", progress)
        overrides = frozenset(job.origin.overrides)
        with unpacked(original, self._limits, overrides, progress) as contents:
            try:
                found = (self._in_order if contents.seems_raw else self._into_file)(job, original, contents, progress)
            except BadChunk as gone:
                if gone.kind != "missing":
                    raise
                # This worker was paused, and a collection ran.
                raise Lost(chunk_name(ChunkDigest(bytes.fromhex(gone.chunk)))) from gone
        if isinstance(found, StoredDisk):
            return found
        return self._from_file(job, original, work_file(self._work, job, "file"), found, progress)

    def clean(self, job: Job) -> None:
        """Remove the work files of a job's worker. The fetched file stays, so that a retry resumes."""
        for file in self._work.glob(f"{job.id}.{job.fence}.*"):
            file.unlink(missing_ok=True)

    def forget(self, job: Job) -> None:
        """Remove the fetched file of a published job, or of one whose bytes were refused."""
        if job.origin.url:
            discard_partial(fetch_file(self._work, job))

    # docs/decisions.md#a-disk-that-arrives-in-order-is-never-a-file
    def _in_order(self, job: Job, original: Original, contents: Contents, progress: JobProgress) -> StoredDisk | str:
        """Cut a raw disk into chunks while its bytes arrive, examine what was stored, and only then put its manifest.

        Returns the original's digest for the rare file whose end is that of another format: the work folder has it then.
        """
        overrides = frozenset(job.origin.overrides)
        size = None if contents.size is None else -(-contents.size // SECTOR) * SECTOR
        on_taken = self._on_taken(UNPACK, contents.size, progress, max(job.reserved, size or 0))
        with DiskWriter(self._store, size, now=self._now, progress=on_taken) as writer:
            write_pieces(writer, contents.pieces)
            file_size = writer.taken
            writer.zeros(-file_size % SECTOR)
            disk = writer.settle()
            digests = contents.digests() or {Algorithm.SHA256: Digest(Algorithm.SHA256, disk.manifest.sha256)}
            original.check(digests, file_size)
            digest = str(digests[Algorithm.SHA256])
            progress.update(EXAMINE)
            reader = StoredReader(disk, file_size)
            file = work_file(self._work, job, "file")
            if not is_raw(recognise(reader)):
                write_sparse(disk.chunks(0, file_size), original.where, file, self._space)
                return digest
            write_outline(reader, original.where, file, self._space)
            examination = self._examined(job, reader, file)
            if refusals := examination.refusals(overrides):
                raise refused_for(refusals)
            progress.reserve(writer.taken)
            findings, facts = self._described(StoredReader(disk, writer.taken), overrides)
            written = _finish(writer, facts)
            progress.update(STORE, file_size, file_size)  # its chunks were put as they arrived
        return _stored_disk(written, digest, original, examination, findings, facts)

    def _into_file(self, job: Job, original: Original, contents: Contents, progress: JobProgress) -> str:
        """Write an original without its compression into the work folder. Returns its digest. Raises DigestMismatch."""
        on_size = (lambda _: None) if contents.size is None else partial(progress.update, UNPACK, total=contents.size)
        file = work_file(self._work, job, "file")
        written = write_sparse(contents.bytes_and_zeros(), original.where, file, self._space, on_size)
        digests = contents.digests()
        assert digests is not None
        original.check(digests, written.size)
        return str(digests[Algorithm.SHA256])

    def _from_file(self, job: Job, original: Original, file: Path, digest: str, progress: JobProgress) -> StoredDisk:
        """Examine and convert a file, and store its disk. `digest` is the original's, "" if it is not known yet."""
        overrides = frozenset(job.origin.overrides)
        # docs/decisions.md#a-raw-original-is-hashed-where-it-is-stored
        expected = original.expected.digest
        if not digest and not (is_raw_disk(file) and (expected is None or expected.algorithm is Algorithm.SHA256)):
            digest = self._digest(file, original, progress)
        progress.update(EXAMINE)
        file.chmod(0o644)  # so that qemu-img can read it as nobody; the folder is closed to other users
        examination = self._examined(job, file)
        refusals = examination.refusals(overrides)
        if not digest and (refusals or examination.virtual_size != examination.file_size):
            digest = self._digest(file, original, progress)  # a wrong digest is the first reason
        if refusals:
            raise refused_for(refusals)
        assert examination.virtual_size is not None
        progress.reserve(examination.virtual_size)
        disk = self._raw(job, file, examination, progress)
        try:
            with FileReader(disk) as reader:
                findings, facts = self._described(reader, overrides)
        except ImageRefused:
            if not digest:
                self._digest(file, original, progress)
            raise
        written = self._stored(disk, examination.virtual_size, facts, progress, None if digest else original)
        digest = digest or f"{Algorithm.SHA256}:{written.manifest.sha256}"
        return _stored_disk(written, digest, original, examination, findings, facts)

    def _examined(self, job: Job, source: Path | ReaderAt, outline: Path | None = None) -> Examination:
        stated = job.origin.format or None
        return examine(source, stated=stated, limits=self._limits, second=self._second_opinion, outline=outline)

    def _digest(self, file: Path, original: Original, progress: JobProgress) -> str:
        """The digest of an original that is not compressed. Raises DigestMismatch."""
        with VerifyingReader(LocalFile(file).open(), original.expected, original.where) as reader:
            while reader.read(1 << 20):
                progress.update(UNPACK, reader.size)
            digests = reader.finish()
        original.check(digests, reader.size)
        return str(digests[Algorithm.SHA256])

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

    def _described(self, disk: ReaderAt, overrides: frozenset[str]) -> tuple[tuple[Finding, ...], DiskFacts]:
        """Findings about the disk, and its facts. Refuses a disk that programs could take for an image of another format."""
        examination = examine_disk(disk, limits=self._limits)
        if refusals := examination.refusals(overrides):
            raise refused_for(refusals)
        description = describe(disk)
        return (*examination.findings, *hygiene.scan(disk, description)), _facts_of(description)

    def _stored(self, disk: Path, size: int, facts: DiskFacts, progress: JobProgress, unchecked: Original | None) -> Written:
        """Write the disk into the store. A file whose size is not a multiple of 512 is padded with zeros.

        `unchecked` is an original that is the disk itself, and whose digest is not known yet.
        """
        self._check_store()
        with DiskWriter(self._store, size, now=self._now, progress=self._on_taken(STORE, size, progress, size)) as writer:
            write_file(writer, disk)
            writer.zeros(size - writer.taken)
            return _finish(writer, facts, unchecked)

    def _on_taken(self, phase: str, size: int | None, progress: JobProgress, reserved: int) -> Callable[[int], None]:
        """Reports the bytes that a writer took if their number is known, checks the store's free space, and reserves the quota
        of a disk of unknown size as it grows."""
        checked = 0

        def on_taken(done: int) -> None:
            nonlocal checked, reserved
            if done >= checked:
                checked = done + CHECK_EVERY_BYTES
                self._check_store()
            if done >= reserved + _RESERVED_AT_ONCE:
                progress.reserve(done)
                reserved = done
            if size is not None:
                progress.update(phase, done, size)

        return on_taken

    def _check_store(self) -> None:
        """Raises TooLarge when the store has less than the minimum free space."""
        free, chunks = self._store.free_bytes(), self._store.path(CHUNKS)
        if free is not None and chunks is not None:
            FreeSpace(chunks.parent, self._min_free, lambda _: free).check("the store", CHECK_EVERY_BYTES)


def _finish(writer: DiskWriter, facts: DiskFacts, unchecked: Original | None = None) -> Written:
    """Put the manifest, after a check of the disk's digest if it is that of an original."""

    def check(disk: DiskDigest) -> None:
        if unchecked is not None:
            unchecked.check({Algorithm.SHA256: Digest(Algorithm.SHA256, disk)}, writer.taken)

    # As JSON has it: with lists, like a manifest that was read back.
    return writer.finish(msgspec.json.decode(msgspec.json.encode(facts)), check=check)


def _stored_disk(
    written: Written,
    digest: str,
    original: Original,
    examination: Examination,
    findings: tuple[Finding, ...],
    facts: DiskFacts,
) -> StoredDisk:
    remarks = dict.fromkeys(f"{finding.id}: {finding.text}" for finding in (*examination.findings, *findings))
    return StoredDisk(written, digest, original.expected.origin, str(examination.format), tuple(remarks), facts)


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
