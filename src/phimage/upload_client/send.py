"""Uploading a file to phimage: read and hashed once, sent in parts, retried, and resumed later.

The server returns the parts that it has, with their digests. So resuming needs no state on this side, and the same bytes may
come from another place, even from a pipe; a part with other bytes is sent again.
"""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct

from phimage.chunk_upload import THREADS, DiskChanged, DiskTooLarge, FileDisk, SendProgress, SentDisk, SourceDisk, send_disk
from phimage.errors import ClientError
from phimage.sources.digest import FIRST_USE, Digests, ExpectedDigest, Hashes
from phimage.sources.errors import SourceChanged, SourceError, SourceInterrupted, error_text
from phimage.sources.progress import Clock, Meter, ProgressCallback
from phimage.sources.retry import Retry
from phimage.sources.source import ImageSource, LocalFile
from phimage.upload_client.connection import OpenUrl, RequestRefused, UploadConnection
from phimage.upload_client.part_queue import MAX_CONCURRENT, PartQueue

_WITHOUT_CHUNKS: Final = frozenset({404, 405})
"""How servers without uploads by chunks refuse them."""
_CONFLICT: Final = 409
_MAX_RUNS: Final = 3


class UploadResult(Struct, frozen=True):
    """A complete upload. `sent` bytes were sent by this call; the server had the others before."""

    size: int
    digests: Digests
    sent: int


def upload(
    source: ImageSource,
    open_url: OpenUrl,
    *,
    expected: ExpectedDigest = FIRST_USE,
    on_progress: ProgressCallback | None = None,
    retry: Retry | None = None,
    clock: Clock = time.monotonic,
) -> UploadResult:
    """Send a file. After any interruption, including Ctrl-C, calling again with the same bytes resumes.

    The digests are of all bytes, including those that the server had before. Raises SourceError for a bad source
    (DigestMismatch for other bytes than expected), SourceInterrupted when the server was unreachable for too long, and
    ClientError when it refuses. `on_progress` is called in the caller's thread, and an exception from it ends the upload.
    """
    meter = Meter(on_progress, clock)
    with (
        UploadConnection(open_url, retry or Retry(), MAX_CONCURRENT) as connection,
        PartQueue(connection, source.size, meter) as queue,
    ):
        state = connection.state()
        known = {kept.part: kept for kept in state.parts}
        hashes = Hashes(expected)
        number = 0
        with source.open() as reader:
            while raw := reader.read(state.part_size):
                hashes.update(raw)
                queue.add(number, raw, known.get(number))
                number += 1
                del raw  # free it before the next part is read
        if not number:
            raise SourceError(source.name, "it is empty", "give the file of an image", reason="empty")
        queue.finish()
        expected.check(source.name, hashes.digests(), hashes.size)
        if max(known, default=0) >= number:
            raise ClientError("the server has parts of a longer file in this upload; start a new upload for this file")
        return UploadResult(hashes.size, hashes.digests(), queue.sent)


# docs/decisions.md#uploads-by-chunks
def upload_disk(
    source: LocalFile,
    open_url: OpenUrl,
    *,
    on_progress: ProgressCallback | None = None,
    retry: Retry | None = None,
    clock: Clock = time.monotonic,
) -> SentDisk | None:
    """Send a raw disk by chunks: only those that the server lacks. Calling again with the same disk resumes.

    Returns None, without having sent anything, if the server takes only parts. Raises like `upload`.
    """
    meter = Meter(on_progress, clock)
    with UploadConnection(open_url, retry or Retry(), THREADS + 1) as connection:
        try:
            connection.ask("POST", "need", b"")
        except RequestRefused as refused:
            if refused.status in _WITHOUT_CHUNKS:
                return None
            raise
        try:
            with FileDisk(str(source.path)) as disk:
                sent = _send_until_sealed(disk, connection, meter)
        except DiskChanged as changed:
            raise SourceChanged(source.name, str(changed), reason="changed") from None
        except DiskTooLarge as large:
            raise SourceError(source.name, str(large), "publish it as a compressed file", reason="too large") from None
        except OSError as error:
            raise SourceInterrupted(source.name, f"it cannot be read: {error_text(error)}", reason="read") from None
        meter.finish(sent.size, sent.size)
        return sent


def _send_until_sealed(disk: SourceDisk, connection: UploadConnection, meter: Meter) -> SentDisk:
    """Send a disk, again if chunks were missing at the end: an image that had them was withdrawn and collected meanwhile."""

    def on_progress(progress: SendProgress) -> None:
        meter.update(progress.done, progress.total)

    for _ in range(_MAX_RUNS - 1):
        try:
            return send_disk(disk, connection.ask, on_progress)
        except RequestRefused as refused:
            if refused.status != _CONFLICT:
                raise
    return send_disk(disk, connection.ask, on_progress)
