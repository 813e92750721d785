"""Fetching a URL into a work file: judged from its first MiB, resumed after a break, proved by its digest."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from msgspec import Struct

from phimage.sources.answer import Answer
from phimage.sources.checksums import LARGEST
from phimage.sources.digest import TRUST, Algorithm, Digest, Digests, Expected
from phimage.sources.download import Download, Early
from phimage.sources.errors import SourceError, TooLarge
from phimage.sources.judge import HEAD, Limits, check_fields, check_head, check_max_size, check_min_size, check_status
from phimage.sources.local import LocalFile
from phimage.sources.partial import Partial
from phimage.sources.progress import Clock, Meter, Tell
from phimage.sources.retry import Retry, Sleep, persist
from phimage.sources.space import Free, Room, free_bytes
from phimage.sources.url import Url, read_url
from phimage.sources.web import Web


class Look(Struct, frozen=True):
    """What the beginning of an answer tells."""

    name: str
    size: int | None
    head: bytes


class Fetched(Struct, frozen=True):
    """A file that was fetched whole. `url` is for people; `resumed` bytes were here before."""

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
    """Fetches. Safe in several threads, for different work files."""

    def __init__(
        self,
        web: Web,
        limits: Limits | None = None,
        retry: Retry | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep | None = None,
        free: Free = free_bytes,
    ) -> None:
        """`sleep` waits between tries; without it, the wait ends early when the fetch is cancelled."""
        self._web = web
        self._limits = limits or Limits()
        self._retry = retry or Retry()
        self._clock = clock
        self._sleep = sleep
        self._free = free

    def fetch(
        self,
        url: str,
        work: Path,
        expected: Expected,
        *,
        early: Early | None = None,
        tell: Tell | None = None,
        cancel: threading.Event | None = None,
    ) -> Fetched:
        """Fetch a URL into a work file. Called again with both the same it goes on where it stopped.

        What `tell` raises stops it, and what came is kept. Setting `cancel` ends every wait for the network within half a
        second, with SourceBroken. Bytes that can never be an image are removed: a wrong digest, a page, too many, refused by
        `early`. The file stays until the caller calls `partial.discard`.
        Raises SourceError; nothing but an exception tells of bytes that are not the expected ones.
        """
        parsed, cancel = read_url(url), cancel or threading.Event()
        room = Room(work.parent, self._limits.reserve, self._free)
        with room.writing(parsed.shown), Partial.open(work, parsed.bare, expected) as partial:
            meter = Meter(tell, self._clock)
            download = Download(self._web, self._limits, room, parsed, partial, expected, early, meter, cancel)
            try:
                persist(download.run, self._retry, self._sleep or cancel.wait, lambda: partial.offset, cancel)
            except SourceError as error:
                if error.offset is None and partial.offset:
                    error.offset = partial.offset
                raise
            digests = partial.digests()
            return Fetched(work, parsed.name, parsed.shown, partial.offset, digests, partial.found)

    def look(self, url: str, expected: Expected = TRUST) -> Look:
        """The first MiB and the size of what a URL answers, judged like a fetch. Raises SourceError."""
        parsed = read_url(url)
        return persist(lambda: self._look(parsed, expected), self._retry, self._sleep or time.sleep)

    def text(self, url: str, cancel: threading.Event | None = None) -> str:
        """A small text, such as a checksum file. `cancel`: see `fetch`. Raises SourceError."""
        parsed, cancel = read_url(url), cancel or threading.Event()
        found = persist(lambda: self._bytes(parsed, LARGEST, cancel), self._retry, self._sleep or cancel.wait, cancel=cancel)
        if len(found) > LARGEST:
            raise TooLarge(parsed.shown, f"more than {LARGEST} bytes are no checksum file", "check the URL", reason="limit")
        return found.decode("utf-8", "replace")

    def _look(self, url: Url, expected: Expected) -> Look:
        with self._web.get(url, downgrade=expected.known) as answer:
            check_status(answer)
            size = answer.length()
            if size is not None:
                check_max_size(url.shown, size, self._limits)
            answer.check_begun()
            check_fields(answer)
            head = _some(answer, HEAD)
            check_min_size(url.shown, len(head) if size is None else size, self._limits)
            check_head(url.shown, head)
            return Look(url.name, size, head[:HEAD])

    def _bytes(self, url: Url, max_size: int, cancel: threading.Event) -> bytes:
        with self._web.get(url, cancel=cancel) as answer:
            check_status(answer)
            answer.check_begun()
            check_fields(answer)
            return _some(answer, max_size + 1)


def _some(answer: Answer, max_size: int) -> bytes:
    """The first bytes of a body, a little more than `most` or all of a shorter one."""
    parts, came = list[bytes](), 0
    while came < max_size and (data := answer.read()):
        parts.append(data)
        came += len(data)
    return b"".join(parts)
