"""The original file of an image, and what is expected of it: at a URL, or uploaded in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from phimage.chunks.store import Store
from phimage.chunks.uploads import UploadSource
from phimage.formats.examine import examine_head
from phimage.formats.finding import InspectionReport
from phimage.formats.limits import DiskLimits
from phimage.formats.table import KINDS
from phimage.model.job import Job
from phimage.publishing.errors import ImageRefused, SourceAway, refused_for
from phimage.publishing.progress import FETCH, JobProgress
from phimage.sources.checksums import find_digest
from phimage.sources.compression import Compression, detect
from phimage.sources.digest import FIRST_USE, Digest, ExpectedDigest, read_digest
from phimage.sources.errors import SourceInterrupted, TooLarge, UnpackRefused
from phimage.sources.fetch import FetchedFile, Fetcher
from phimage.sources.progress import TransferProgress
from phimage.sources.retry import Retry
from phimage.sources.sniff import HEAD
from phimage.sources.source import Source
from phimage.sources.unpack import Unpacker, UnpackLimits
from phimage.sources.url import read_url

IN_PLACE = Retry(max_wait=1.0, needs_progress=True)
"""For the fetcher of a publisher: a source that sent something is asked again at once. Any other failure is SourceAway, and the
worker postpones the job, so that no publisher waits for a source that sends nothing."""

_BLOCKS = 4
"""Of a MiB, unpacked: enough for every header."""


class Head:
    """The first bytes of a file, as a source's reader."""

    def __init__(self, head: bytes) -> None:
        self._left = memoryview(head)

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""
        found, self._left = bytes(self._left[:size]), self._left[size:]
        return found

    def close(self) -> None:
        """See `Reader`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


@contextmanager
def _fetching(step: JobProgress) -> Iterator[None]:
    """A break of the source is the end of the work if that was cancelled, else SourceAway."""
    try:
        yield
    except SourceInterrupted as broken:
        step.check()
        raise SourceAway(broken) from None


def expected_of(job: Job, fetcher: Fetcher, step: JobProgress) -> ExpectedDigest:
    """What the original must have: the digest as given, or the one in a checksum file. Raises SourceError, SourceAway."""
    origin = job.origin
    if origin.digest:
        return ExpectedDigest(read_digest(origin.digest), "as given")
    if origin.checksum_url:
        name = read_url(origin.url).file if origin.url else origin.name
        with _fetching(step):
            text = fetcher.text(origin.checksum_url, step.cancel)
        return find_digest(text, name, read_url(origin.checksum_url).shown)
    return FIRST_USE


def sent_digest(job: Job) -> Digest | None:
    """What the sender of an upload says that it sent. It proves that nothing was lost on the way, and nothing else."""
    return read_digest(job.origin.sent) if job.origin.sent else None


def source_of(
    job: Job, expected: ExpectedDigest, store: Store, fetcher: Fetcher, work: Path, limits: DiskLimits, step: JobProgress
) -> tuple[Source, str]:
    """The original, and its name for messages. A URL is fetched into the work folder.

    Raises SourceError, SourceAway, ImageRefused.
    """
    origin = job.origin

    def early(head: bytes, size: int | None) -> None:
        check_head(head, size, origin.format, frozenset(origin.overrides), limits, step)

    if not origin.url:
        upload = UploadSource(store, job.id, origin.size, origin.name)
        with upload.open() as reader:
            early(reader.read(HEAD), upload.size)
        return upload, origin.name or "the upload"

    def tell(progress: TransferProgress) -> None:
        step.at(FETCH, progress.done, progress.total or 0)

    def fetch(file: Path) -> FetchedFile:
        return fetcher.fetch(origin.url, file, expected, head_check=early, on_progress=tell, cancel=step.cancel)

    file = fetch_file(work, job)
    with _fetching(step):
        try:
            fetched = fetch(file)
        except SourceInterrupted as broken:
            if broken.where != str(file):
                raise
            # Whoever had the job before was paused, and still holds the file.
            fetched = fetch(work_file(work, job, "fetch"))
    return fetched.source(), fetched.url


def fetch_file(work: Path, job: Job) -> Path:
    """Where a URL is fetched to. It outlives a job that broke off, so that the same asked once more goes on there."""
    return work / f"{sha256(f'{job.token or job.id} {job.origin.url}'.encode()).hexdigest()[:32]}.fetch"


def work_file(work: Path, job: Job, ending: str) -> Path:
    """A file of whoever has the job now. Another one, who was paused and lost it, does not touch it when he goes on."""
    return work / f"{job.id}.{job.fence}.{ending}"


def is_plain(source: Source) -> bool:
    """Whether an original is not compressed."""
    with source.open() as reader:
        return detect(reader.read(64)) is Compression.NONE


@contextmanager
def bounded(limits: DiskLimits, overrides: frozenset[str]) -> Iterator[UnpackLimits]:
    """The bounds for unpacking an original. Passing its limit is ImageRefused, with the finding `size.limit`.

    Holes count. An image format adds tables to its disk, so an unpacked file may be 1/32 larger than a disk.
    """
    largest = limits.virtual_size + limits.virtual_size // 32
    if "size.limit" in overrides:
        largest = max(largest, UnpackLimits().max_size)
    try:
        yield UnpackLimits(max_size=largest)
    except TooLarge as error:
        if error.reason != "limit":
            raise
        report = InspectionReport(KINDS)
        report.note("size.limit", f"it unpacks to more than {largest} bytes; the limit of a disk is {limits.virtual_size}")
        raise refused_for(report.findings) from None


def check_head(
    head: bytes, size: int | None, stated: str, overrides: frozenset[str], limits: DiskLimits, step: JobProgress | None = None
) -> None:
    """Look at the first bytes of an original, whose `size` may be known, before the rest comes. Raises ImageRefused.

    What passes is examined again as a whole.
    """
    inside, packed = head, detect(head) is not Compression.NONE
    if packed:
        inside = _unpacked(head, limits, overrides)
        size = None
    if not inside:
        return
    examination = examine_head(inside, size, stated=stated or None, limits=limits)
    refusals = examination.refusals(overrides)
    if refusals:
        raise refused_for(refusals)
    if step is not None and examination.virtual_size:
        step.reserve(examination.virtual_size)


def _unpacked(head: bytes, limits: DiskLimits, overrides: frozenset[str]) -> bytes:
    """What the first bytes hold, as far as they go. Raises ImageRefused for what can only become worse."""
    blocks: list[bytes] = []
    try:
        with bounded(limits, overrides) as bounds:
            blocks.extend(islice(Unpacker(Head(head), "the original", bounds), _BLOCKS))
    except UnpackRefused as error:
        if error.reason not in ("cut", "damaged"):  # it was cut, by us
            raise ImageRefused(str(error)) from None
    return b"".join(blocks)
