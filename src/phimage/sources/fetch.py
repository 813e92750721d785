"""Fetching a URL into a work file: checked from its first MiB, resumed after an interruption, verified by its digest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from phimage.errors import PhimageError
from phimage.sources.checksums import MAX_CHECKSUM_BYTES
from phimage.sources.digest import Algorithm, Digest, Digests, ExpectedDigest
from phimage.sources.errors import SourceError, SourceInterrupted, TooLarge
from phimage.sources.http import HttpClient
from phimage.sources.partial_file import CHECK_EVERY_BYTES, FreeSpace, MeasureFree, PartialFile, free_bytes
from phimage.sources.progress import Clock, Meter, ProgressCallback
from phimage.sources.response import HttpResponse, Validators
from phimage.sources.retry import Retry, Sleep, with_retries
from phimage.sources.sniff import HEAD, FetchLimits, check_head, check_headers, check_max_size, check_min_size, check_status
from phimage.sources.source import LocalFile
from phimage.sources.url import Url, read_url

HeadCheck = Callable[[bytes, int | None], None]
"""Receives the first MiB (all of a smaller file) and the size, once, before the rest is fetched. Raises to refuse."""


class FetchedFile(Struct, frozen=True):
    """A completely fetched file. `url` hides secrets; `resumed` bytes were kept from an earlier call."""

    path: Path
    name: str
    url: str
    size: int
    digests: Digests
    resumed: int

    @property
    def sha256(self) -> Digest:
        """The SHA-256 of the original bytes."""
        return self.digests[Algorithm.SHA256]

    def source(self) -> LocalFile:
        """The file as a source, under its name on the server."""
        return LocalFile(self.path, self.name)


class Fetcher:
    """Fetches URLs with retries. Thread-safe for different work files."""

    def __init__(
        self,
        client: HttpClient,
        limits: FetchLimits | None = None,
        retry: Retry | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep | None = None,
        free: MeasureFree = free_bytes,
    ) -> None:
        """`sleep` waits between attempts; by default the wait ends early when the fetch is cancelled."""
        self._client = client
        self._limits = limits or FetchLimits()
        self._retry = retry or Retry()
        self._clock = clock
        self._sleep = sleep
        self._free = free

    def fetch(
        self,
        url: str,
        work: Path,
        expected: ExpectedDigest,
        *,
        head_check: HeadCheck | None = None,
        on_progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
    ) -> FetchedFile:
        """Fetch a URL into a work file. A later call with the same URL and file resumes.

        An exception of `on_progress` ends the fetch and keeps the received bytes. Setting `cancel` ends every wait for the
        network within half a second, with SourceInterrupted. Bytes that can never be an image are removed: a wrong digest, a
        web page, too many bytes, or a refusal of `head_check`. The file stays until the caller calls `discard_partial`.
        Raises SourceError. A returned file has the expected digest.
        """
        parsed, cancel = read_url(url), cancel or threading.Event()
        space = FreeSpace(work.parent, self._limits.min_free, self._free)
        with space.writing(parsed.shown), PartialFile.open(work, parsed.bare, expected) as partial:
            meter = Meter(on_progress, self._clock)
            download = Download(self._client, self._limits, space, parsed, partial, expected, head_check, meter, cancel)
            try:
                with_retries(download.run, self._retry, self._sleep or cancel.wait, lambda: partial.offset, cancel)
            except SourceError as error:
                if error.offset is None and partial.offset:
                    error.offset = partial.offset
                raise
            return FetchedFile(work, parsed.name, parsed.shown, partial.offset, partial.digests(), partial.resumed)

    def text(self, url: str, cancel: threading.Event | None = None) -> str:
        """Fetch a small text, such as a checksum file. `cancel`: see `fetch`. Raises SourceError."""
        parsed, cancel, limit = read_url(url), cancel or threading.Event(), MAX_CHECKSUM_BYTES
        sleep = self._sleep or cancel.wait
        data = with_retries(lambda: self._bytes(parsed, limit, cancel), self._retry, sleep, cancel=cancel)
        if len(data) > limit:
            message = f"it has more than {limit} bytes, which is too large for a checksum file"
            raise TooLarge(parsed.shown, message, "check the URL", reason="limit")
        return data.decode("utf-8", "replace")

    def _bytes(self, url: Url, max_size: int, cancel: threading.Event) -> bytes:
        """The body of a response, cut off soon after `max_size` bytes."""
        with self._client.get(url, cancel=cancel) as response:
            check_status(response)
            response.check_begun()
            check_headers(response)
            body = bytearray()
            while len(body) <= max_size and (data := response.read()):
                body += data
            return bytes(body)


class Download:
    """One download into a work file: sends requests until all bytes have arrived and are verified."""

    def __init__(
        self,
        client: HttpClient,
        limits: FetchLimits,
        space: FreeSpace,
        url: Url,
        partial: PartialFile,
        expected: ExpectedDigest,
        head_check: HeadCheck | None,
        meter: Meter,
        cancel: threading.Event,
    ) -> None:
        self._client = client
        self._limits = limits
        self._space = space
        self._url = url
        self._partial = partial
        self._expected = expected
        self._head_check = head_check
        self._meter = meter
        self._cancel = cancel
        self._head_checked = False

    def run(self) -> None:
        """Download and verify the rest. After SourceInterrupted another call resumes."""
        partial = self._partial
        if partial.offset >= HEAD:
            self._check_head_once()
        while not partial.complete:
            self._request()
        self._check_head_once()
        self._meter.finish(partial.offset, partial.size)
        self._check_or_discard(lambda: self._expected.check(self._url.shown, partial.digests(), partial.offset))

    def _request(self) -> None:
        """Send one request and receive its body. Starts from zero without validators, or when they have changed."""
        partial = self._partial
        resuming = partial.offset > 0 and partial.validators.known
        headers = {"Range": f"bytes={partial.offset}-", "If-Range": partial.validators.condition} if resuming else {}
        with self._client.get(self._url, headers, downgrade=self._expected.known, cancel=self._cancel) as response:
            if resuming and not self._continues(response):
                partial.restart(None, Validators())
                return
            check_status(response)
            size, end = self._extent(response, resuming)
            self._check_headers(response, size)
            if response.status == 206:
                partial.size = size
            else:
                partial.restart(size, response.validators)
            self._receive(response, end)

    def _continues(self, response: HttpResponse) -> bool:
        """Whether the response to a range request is usable: as the rest, or as the whole file from its start."""
        if response.status != 206:
            return response.status != 416
        part = response.range()
        if part is None or part[0] != self._partial.offset or self._partial.validators.differs(response.validators):
            return False
        return part[2] is not None and self._partial.size in (None, part[2])

    def _extent(self, response: HttpResponse, resuming: bool) -> tuple[int | None, int | None]:
        """The size of the whole file and the offset at which this body ends, each None when not declared."""
        if response.status != 206:
            return response.length(), response.length()
        part = response.range()
        if part is None or not resuming:
            message = "it sends a part of the file although the whole was requested"
            raise response.refused(message, "report it to the owner of the server", reason="range")
        return part[2], part[1] + 1

    def _check_headers(self, response: HttpResponse, size: int | None) -> None:
        """Check the header. The body must have begun before its fields count: a header may have been cut off."""
        if size is not None:
            check_max_size(self._url.shown, size, self._limits)
        self._space.check(self._url.shown, (size or CHECK_EVERY_BYTES) - self._partial.offset)
        response.check_begun()
        check_headers(response)
        if size is not None:
            check_min_size(self._url.shown, size, self._limits)
        elif not (response.chunked or self._expected.known):
            message = "the server declares no size, so a part of the file could pass for the whole"
            raise response.refused(message, "give its digest", reason="size")

    def _receive(self, response: HttpResponse, end: int | None) -> None:
        """Write the body, which must end at offset `end` of the file. Raises SourceInterrupted when it ends elsewhere."""
        partial = self._partial
        synced = partial.offset
        while data := response.read():
            partial.write(data)
            if end is not None and partial.offset > end:
                partial.discard()
                message = "it sends more bytes than it declared"
                raise response.refused(message, "report it to the owner of the server", reason="size")
            if partial.offset > self._limits.max_size:
                self._check_or_discard(lambda: check_max_size(self._url.shown, partial.offset, self._limits))
            if partial.offset >= HEAD:
                self._check_head_once()
            if partial.offset - synced >= CHECK_EVERY_BYTES:
                synced = partial.offset
                partial.sync()
                self._space.check(self._url.shown, 0 if partial.size else CHECK_EVERY_BYTES)
            self._meter.update(partial.offset, partial.size)
        if end is not None and partial.offset < end:
            raise response.interrupted()
        if partial.size not in (None, partial.offset):
            message = "the server sent only a part of the requested range"
            raise SourceInterrupted(self._url.shown, message, reason="cut", status=response.status)
        partial.finish()

    def _check_head_once(self) -> None:
        """Check the first MiB, once. Discards bytes that can never be an image."""
        if not self._head_checked:
            self._head_checked = True
            self._check_or_discard(self._check_head)

    def _check_head(self) -> None:
        partial = self._partial
        head = partial.head(HEAD)
        check_head(self._url.shown, head)
        if partial.complete:
            check_min_size(self._url.shown, partial.offset, self._limits)
        if self._head_check is not None:
            self._head_check(head, partial.size)

    def _check_or_discard(self, check: Callable[[], None]) -> None:
        try:
            check()
        except PhimageError:
            self._partial.discard()
            raise
