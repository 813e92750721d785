"""Digests of original bytes: parsing, the expected digest, and readers that verify it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import TracebackType
from typing import Final

from msgspec import Struct

from phimage.sources.errors import DigestMismatch, DigestRefused
from phimage.sources.source import SourceReader

MAX_SHOWN: Final = 80
READ_SIZE: Final = 1024 * 1024


class Algorithm(StrEnum):
    """The accepted algorithms, as written before the colon."""

    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def digits(self) -> int:
        """The number of hexadecimal digits of a digest."""
        return 64 if self is Algorithm.SHA256 else 128


class Digest(Struct, frozen=True):
    """A digest in lower-case digits. Its text is `sha256:<hex>`."""

    algorithm: Algorithm
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


Digests = Mapping[Algorithm, Digest]
"""The digests of some bytes, by algorithm. SHA-256 is always present."""

BROKEN_ALGORITHMS: Final = {"md5": 32, "sha1": 40}
"""Algorithms for which anybody can make two files with one digest, with their number of digits."""

_EMPTY: Final = {algorithm: hashlib.new(algorithm).hexdigest() for algorithm in Algorithm}
_NAMED = re.compile(r"([a-z0-9/_-]{2,12})[:=](.*)", re.IGNORECASE | re.DOTALL)
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE | re.ASCII)


def read_digest(text: str) -> Digest:
    """Parse `sha256:<hex>`, `sha512:<hex>` or bare digits. Raises DigestRefused.

    Upper-case digits are accepted, because Windows prints them.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    if named:
        return make_digest(named[1], named[2].strip())
    by_digits = {algorithm.digits: str(algorithm) for algorithm in Algorithm} | {
        digits: name for name, digits in BROKEN_ALGORITHMS.items()
    }
    return make_digest(by_digits.get(len(text), ""), text)


def make_digest(name: str, digits: str) -> Digest:
    """A digest by its algorithm's name as tools write it (`SHA256`, `SHA-256`, `SHA2-256`). Raises DigestRefused."""
    spelled = re.sub(r"[-_/]", "", name.lower()).replace("sha2256", "sha256").replace("sha2512", "sha512")
    where = f"{name}:{digits}"[:MAX_SHOWN] if name else digits[:MAX_SHOWN] or "the digest"
    if spelled in BROKEN_ALGORITHMS:
        message = f"{name.upper()} is broken: anybody can make two files with the same digest"
        raise DigestRefused(where, message, "give a SHA-256, or --trust-first-use to record it", reason="broken")
    if spelled not in list(Algorithm):
        message = "it is not a digest of a supported algorithm" if _HEX.fullmatch(digits) else "it is not a digest"
        raise DigestRefused(
            where, message, "give sha256:<64 digits> or sha512:<128 digits>", reason="algorithm" if name else "form"
        )
    algorithm = Algorithm(spelled)
    if len(digits) != algorithm.digits or not _HEX.fullmatch(digits):
        message = f"a {algorithm} digest has {algorithm.digits} hexadecimal digits"
        raise DigestRefused(where, message, "copy the whole digest again", reason="form")
    if digits.lower() == _EMPTY[algorithm]:
        message = "it is the digest of an empty file"
        raise DigestRefused(where, message, "compute it again from the image", reason="empty")
    return Digest(algorithm, digits.lower())


class ExpectedDigest(Struct, frozen=True):
    """The digest that the original bytes must have. Without one any bytes are accepted, and the caller records their digest.

    `origin` says in messages where the digest comes from.
    """

    digest: Digest | None
    origin: str

    @property
    def known(self) -> bool:
        """Whether there is a digest."""
        return self.digest is not None

    def check(self, where: str, actual: Digests, size: int) -> None:
        """Raises DigestMismatch unless the bytes have the digest, KeyError when `Hashes` did not compute its algorithm."""
        if self.digest is not None and actual[self.digest.algorithm] != self.digest:
            text = str(actual[self.digest.algorithm])
            raise DigestMismatch(where, expected=str(self.digest), origin=self.origin, actual=text, size=size)


FIRST_USE: Final = ExpectedDigest(None, "trusted on first use")
"""Trust on first use, for an image without a published digest: the actual one is recorded."""


def expected_digest(text: str) -> ExpectedDigest:
    """The expected digest that a person or a catalogue file gives. Raises DigestRefused."""
    return ExpectedDigest(read_digest(text), "as given")


class Hashes:
    """Running digests: SHA-256 always, and the expected digest's algorithm."""

    def __init__(self, expected: ExpectedDigest = FIRST_USE) -> None:
        algorithms = {Algorithm.SHA256} | ({expected.digest.algorithm} if expected.digest else set())
        self.size = 0
        self._running = {algorithm: hashlib.new(algorithm) for algorithm in sorted(algorithms)}

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes. Large buffers release the GIL."""
        self.size += len(data)
        for running in self._running.values():
            running.update(data)

    def update_all(self, pieces: Iterable[bytes]) -> None:
        """Add all pieces."""
        for piece in pieces:
            self.update(piece)

    def digests(self) -> Digests:
        """The digests of all bytes so far."""
        return {algorithm: Digest(algorithm, running.hexdigest()) for algorithm, running in self._running.items()}


class VerifyingReader:
    """A reader that verifies the digest at its end. Bytes read before the end are unverified: keep them apart."""

    def __init__(self, reader: SourceReader, expected: ExpectedDigest, where: str) -> None:
        """`reader` is at its beginning; `where` names it in errors."""
        self._reader = reader
        self._expected = expected
        self._where = where
        self._hashes = Hashes(expected)
        self._ended = False

    @property
    def size(self) -> int:
        """The number of bytes read."""
        return self._hashes.size

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end. At the end of wrong bytes every call raises DigestMismatch."""
        data = b"" if self._ended else self._reader.read(size)
        self._hashes.update(data)
        if len(data) < size:
            self._ended = True
            self._expected.check(self._where, self._hashes.digests(), self._hashes.size)
        return data

    def skip(self, offset: int) -> None:
        """Read up to `offset` for the digest only, for an upload that resumes there."""
        while self.size < offset and self.read(min(READ_SIZE, offset - self.size)):
            pass

    def finish(self) -> Digests:
        """Read the rest and return the digests of all bytes. Raises DigestMismatch. Required before the bytes are trusted."""
        while not self._ended:
            self.read(READ_SIZE)
        self._expected.check(self._where, self._hashes.digests(), self._hashes.size)
        return self._hashes.digests()

    def close(self) -> None:
        """Close the underlying reader."""
        self._reader.close()

    def __enter__(self) -> VerifyingReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()
