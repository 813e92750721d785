"""The original file of an image, at a URL or uploaded in parts, and its expected digest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from phimage.chunks.store import Store
from phimage.chunks.uploaded_chunks import ChunkSource, find_seal
from phimage.chunks.uploads import UploadSource
from phimage.formats.examine import Examination, examine_head
from phimage.formats.finding import InspectionReport
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import FileReader
from phimage.formats.recognise import recognise
from phimage.formats.table import KINDS, Format
from phimage.model.job import Job
from phimage.publishing.errors import ImageRefused, SourceAway, refused_for
from phimage.publishing.progress import FETCH, JobProgress
from phimage.sources.checksums import find_digest
from phimage.sources.compression import Compression, detect
from phimage.sources.digest import FIRST_USE, Algorithm, Digest, Digests, ExpectedDigest, read_digest
from phimage.sources.errors import DigestMismatch, SourceInterrupted, TooLarge, UnpackRefused
from phimage.sources.fetch import FetchedFile, Fetcher
from phimage.sources.progress import TransferProgress
from phimage.sources.retry import Retry
from phimage.sources.sniff import HEAD
from phimage.sources.source import ImageSource
from phimage.sources.unpack import Unpacker, UnpackLimits
from phimage.sources.url import read_url

# docs/decisions.md#a-job-whose-source-sends-nothing-is-queued-again
IN_PLACE = Retry(max_wait=1.0, needs_progress=True)
"""The retries of a publisher's fetcher: after some progress it retries at once. Any other failure is SourceAway, and the worker
postpones the job, so that no publisher waits for a source that sends nothing."""

SECTOR = 512
"""Bytes of which a disk has a multiple."""

_BLOCKS = 4
"""How many unpacked MiB are examined, enough for every header."""


class HeadBytes:
    """The first bytes of a file as a `SourceReader`."""

    def __init__(self, head: bytes) -> None:
        self._left = memoryview(head)

    def read(self, size: int, /) -> bytes:
        """See `SourceReader`."""
        data, self._left = bytes(self._left[:size]), self._left[size:]
        return data

    def close(self) -> None:
        """See `SourceReader`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


@contextmanager
def _fetching(progress: JobProgress) -> Iterator[None]:
    """Turn an interrupted source into SourceAway, or into JobLost or Interrupted when the work was cancelled."""
    try:
        yield
    except SourceInterrupted as cause:
        progress.check()
        raise SourceAway(cause) from None


def expected_of(job: Job, fetcher: Fetcher, progress: JobProgress) -> ExpectedDigest:
    """The expected digest of the original: as given, or from a checksum file. Raises SourceError, SourceAway."""
    origin = job.origin
    if origin.digest:
        return ExpectedDigest(read_digest(origin.digest), "as given")
    if origin.checksum_url:
        name = read_url(origin.url).file if origin.url else origin.name
        with _fetching(progress):
            text = fetcher.text(origin.checksum_url, progress.cancel)
        return find_digest(text, name, read_url(origin.checksum_url).shown)
    return ExpectedDigest(None, f"captured from host {origin.host}") if origin.host else FIRST_USE


def sent_digest(job: Job) -> Digest | None:
    """The digest that the sender of an upload declares. It only proves that the upload is complete and undamaged."""
    return read_digest(job.origin.sent) if job.origin.sent else None


class Original(Struct, frozen=True):
    """An original. `where` names it in messages; `sent` is the digest that its sender declares."""

    source: ImageSource
    where: str
    expected: ExpectedDigest
    sent: Digest | None

    def check(self, digests: Digests, size: int) -> None:
        """Raises DigestMismatch unless these are the expected digest and the one that its sender declares."""
        self.expected.check(self.where, digests, size)
        if self.sent is not None and digests[Algorithm.SHA256] != self.sent:
            actual = str(digests[Algorithm.SHA256])
            raise DigestMismatch(self.where, expected=str(self.sent), origin="declared by its sender", actual=actual, size=size)


def open_original(job: Job, store: Store, fetcher: Fetcher, work: Path, limits: DiskLimits, progress: JobProgress) -> Original:
    """The original of a job. A URL is fetched into the work folder. Raises SourceError, SourceAway, ImageRefused."""
    expected = expected_of(job, fetcher, progress)
    source, where = _source_of(job, expected, store, fetcher, work, limits, progress)
    return Original(source, where, expected, sent_digest(job))


def _source_of(
    job: Job, expected: ExpectedDigest, store: Store, fetcher: Fetcher, work: Path, limits: DiskLimits, progress: JobProgress
) -> tuple[ImageSource, str]:
    """The source, and its name for messages."""
    origin = job.origin

    def head_check(head: bytes, size: int | None) -> None:
        check_head(head, size, origin.format, frozenset(origin.overrides), limits, progress)

    if not origin.url and (sealed := find_seal(store, job.id)) is not None:
        chunks = ChunkSource(store, job.id, sealed, origin.name)
        head_check(chunks.head(HEAD), chunks.size)
        return chunks, origin.name or "the upload"
    if not origin.url:
        upload = UploadSource(store, job.id, origin.size, origin.name)
        head_check(upload.head(HEAD), upload.size)
        return upload, origin.name or "the upload"

    def on_progress(fetched: TransferProgress) -> None:
        progress.update(FETCH, fetched.done, fetched.total or 0)

    def fetch(file: Path) -> FetchedFile:
        return fetcher.fetch(origin.url, file, expected, head_check=head_check, on_progress=on_progress, cancel=progress.cancel)

    file = fetch_file(work, job)
    with _fetching(progress):
        try:
            fetched = fetch(file)
        except SourceInterrupted as cause:
            if cause.where != str(file):
                raise
            # The previous worker of the job is paused and still holds the file.
            fetched = fetch(work_file(work, job, "fetch"))
    return fetched.source(), fetched.url


def fetch_file(work: Path, job: Job) -> Path:
    """The file that a URL is fetched to. It outlives an interrupted job, so that the same request resumes."""
    owner = f"{job.origin.tenant}/{job.project} " if job.origin.tenant else ""  # whose token it is
    return work / f"{sha256(f'{owner}{job.token or job.id} {job.origin.url}'.encode()).hexdigest()[:32]}.fetch"


def work_file(work: Path, job: Job, ending: str) -> Path:
    """A work file of the job's present worker. A previous worker, paused and resumed, uses files of other names."""
    return work / f"{job.id}.{job.fence}.{ending}"


def is_plain(source: ImageSource) -> bool:
    """Whether an original is not compressed."""
    if isinstance(source, UploadSource | ChunkSource):
        return detect(source.head(64)) is Compression.NONE
    with source.open() as reader:
        return detect(reader.read(64)) is Compression.NONE


def is_raw(formats: tuple[Format, ...]) -> bool:
    """Whether the bytes of a file with these signatures are those of its disk. The examination decides."""
    return formats in ((), (Format.ISO,))


def is_raw_disk(file: Path) -> bool:
    """Whether a file is a raw disk of whole sectors, by its signatures alone."""
    with FileReader(file) as reader:
        return reader.size % SECTOR == 0 and is_raw(recognise(reader))


@contextmanager
def bounded(limits: DiskLimits, overrides: frozenset[str]) -> Iterator[UnpackLimits]:
    """The limits for unpacking an original. Exceeding the size raises ImageRefused with the finding `size.limit`.

    Holes count. An image format adds tables to its disk, so an unpacked file may be 1/32 larger than a disk.
    """
    # docs/decisions.md#unpacked-files-may-exceed-the-largest-disk-by-132
    max_size = limits.virtual_size + limits.virtual_size // 32
    if "size.limit" in overrides:
        max_size = max(max_size, UnpackLimits().max_size)
    try:
        yield UnpackLimits(max_size=max_size)
    except TooLarge as error:
        if error.reason != "limit":
            raise
        report = InspectionReport(KINDS)
        report.note("size.limit", f"it unpacks to more than {max_size} bytes; the limit of a disk is {limits.virtual_size}")
        raise refused_for(report.findings) from None


def check_head(
    head: bytes,
    size: int | None,
    stated: str,
    overrides: frozenset[str],
    limits: DiskLimits,
    progress: JobProgress | None = None,
) -> None:
    """Examine the first bytes of an original, whose `size` may be known, before the rest arrives. Raises ImageRefused.

    An accepted original is examined again as a whole.
    """
    examination = examine_first(head, size, stated, overrides, limits)
    if examination is None:
        return
    refusals = examination.refusals(overrides)
    if refusals:
        raise refused_for(refusals)
    if progress is not None and examination.virtual_size:
        progress.reserve(examination.virtual_size)


def examine_first(
    head: bytes, size: int | None, stated: str, overrides: frozenset[str], limits: DiskLimits
) -> Examination | None:
    """What the first bytes of an original show, unpacked as far as possible; None if they show nothing. Raises ImageRefused."""
    inside = head
    if detect(head) is not Compression.NONE:
        inside = _unpacked(head, limits, overrides)
        size = None
    return examine_head(inside, size, stated=stated or None, limits=limits) if inside else None


def _unpacked(head: bytes, limits: DiskLimits, overrides: frozenset[str]) -> bytes:
    """Decompress the first bytes as far as possible. Raises ImageRefused for a defect that the rest cannot heal."""
    blocks: list[bytes] = []
    try:
        with bounded(limits, overrides) as unpack_limits:
            blocks.extend(islice(Unpacker(HeadBytes(head), "the original", unpack_limits), _BLOCKS))
    except UnpackRefused as error:
        if error.reason not in ("cut", "damaged"):  # both are expected of the head alone
            raise ImageRefused(str(error)) from None
    return b"".join(blocks)
