"""A work file that is filled from its beginning and survives: a break, a kill, and what is written into it meanwhile.

Beside `FILE` stands `FILE.resume`, JSON: which URL, size and version the bytes are of, how many of them are safely on disk,
and their SHA-256. Only bytes that a record vouches for are used again. One process at a time holds the file.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from msgspec import Struct

from phimage.sources.answer import Version
from phimage.sources.digest import TRUST, Algorithm, Digests, Expected, Hashes
from phimage.sources.errors import SourceBroken

PIECE: Final = 1024 * 1024


class Record(Struct, frozen=True):
    """What is written beside the work file. `offset` bytes are on disk and have this `sha256`."""

    url: str
    size: int | None
    version: Version
    offset: int
    sha256: str
    whole: bool


class Partial:
    """The bytes that came until now. Make it with `open`; it is a context manager that keeps what came."""

    def __init__(self, path: Path, descriptor: int, url: str, expected: Expected) -> None:
        self.path = path
        self.offset = 0
        self.size: int | None = None
        self.version = Version()
        self.whole = False
        self.found = 0
        self._descriptor = descriptor
        self._url = url
        self._expected = expected
        self._hashes = Hashes(expected)
        self._synced: Record | None = None
        self._begun = False

    @classmethod
    def open(cls, path: Path, url: str, expected: Expected = TRUST) -> Partial:
        """Open a work file, or begin one. `url` says whose bytes they are. Raises SourceBroken while another holds it."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(path, descriptor):
                    partial = cls(path, descriptor, url, expected)
                    partial._recall()
                    return partial
            except BlockingIOError:
                os.close(descriptor)
                told = "another process is fetching it into the same file"
                raise SourceBroken(str(path), told, "wait until it is done", reason="busy") from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # it was discarded between opening and locking

    def begin(self, size: int | None, version: Version) -> None:
        """Begin from zero with bytes of this size and version."""
        os.ftruncate(self._descriptor, 0)
        self._reset(size, version)
        self._begun = True

    def write(self, data: bytes) -> None:
        """Add bytes at the end. They are safe after `sync`."""
        view = memoryview(data)
        while view:
            view = view[os.pwrite(self._descriptor, view, self.offset + len(data) - len(view)) :]
        self._hashes.update(data)
        self.offset += len(data)

    def head(self, size: int) -> bytes:
        """The first bytes."""
        return os.pread(self._descriptor, min(size, self.offset), 0)

    def digests(self) -> Digests:
        """The digests of all bytes that came."""
        return self._hashes.digests()

    def finish(self) -> None:
        """All bytes are here."""
        self.size, self.whole = self.offset, True
        self.sync()

    def sync(self) -> None:
        """Put all bytes and the record of them safely on disk."""
        record = Record(self._url, self.size, self.version, self.offset, _sha256(self._hashes), self.whole)
        if record == self._synced:
            return
        os.fdatasync(self._descriptor)  # first the bytes; should the disk turn it round, the digest tells
        draft = _beside(self.path, ".resume.new")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(_beside(self.path, ".resume"))
        self._synced = record

    def discard(self) -> None:
        """Remove the file and its record: nothing of it can be used."""
        discard(self.path)
        self._begun = False
        self._reset(None, Version())

    def close(self) -> None:
        """Keep what came, and let others have it."""
        try:
            if self._begun:
                with suppress(OSError):  # then an earlier record counts
                    self.sync()
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _recall(self) -> None:
        """Go on from the record, if it is one of the same bytes and they are still there."""
        try:
            record = msgspec.json.decode(_beside(self.path, ".resume").read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return
        if record.url != self._url or not 0 < record.offset <= os.fstat(self._descriptor).st_size:
            return
        hashes, place = Hashes(self._expected), 0
        while place < record.offset and (data := os.pread(self._descriptor, min(PIECE, record.offset - place), place)):
            hashes.update(data)
            place += len(data)
        if _sha256(hashes) != record.sha256:
            return
        os.ftruncate(self._descriptor, record.offset)
        self.offset = self.found = record.offset
        self.size, self.version, self.whole = record.size, record.version, record.whole
        self._hashes, self._synced, self._begun = hashes, record, True

    def _reset(self, size: int | None, version: Version) -> None:
        self.found = 0
        self.offset, self.size, self.version, self.whole = 0, size, version, False
        self._hashes = Hashes(self._expected)
        self._synced = None


def discard(path: Path) -> None:
    """Remove a work file and its record, if they are there."""
    for name in (_beside(path, ".resume"), _beside(path, ".resume.new"), path):
        name.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sha256(hashes: Hashes) -> str:
    return hashes.digests()[Algorithm.SHA256].hex
