"""Digests of the original bytes: how they are given, what is expected, and that a wrong one never passes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from phimage.sources.errors import DigestRefused, WrongDigest

LONGEST_SHOWN: Final = 80


class Algorithm(StrEnum):
    """What phimage accepts. The text is how it is written before the colon."""

    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def digits(self) -> int:
        """How many hexadecimal digits a digest has."""
        return 64 if self is Algorithm.SHA256 else 128


class Digest(Struct, frozen=True):
    """A digest; the digits are in small letters. As text it is `sha256:<hex>`."""

    algorithm: Algorithm
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


Digests = Mapping[Algorithm, Digest]
"""What some bytes have, by algorithm. SHA-256 is always there."""

BROKEN: Final = {"md5": 32, "sha1": 40}
"""Algorithms for which two files with one digest can be made by anybody, with their digits."""

_EMPTY: Final = {algorithm: hashlib.new(algorithm).hexdigest() for algorithm in Algorithm}
_NAMED = re.compile(r"([a-z0-9/_-]{2,12})[:=](.*)", re.IGNORECASE | re.DOTALL)
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE | re.ASCII)


def read_digest(text: str) -> Digest:
    """Read `sha256:<hex>`, `sha512:<hex>` or the bare digits. Raises DigestRefused with the reason.

    Capital digits are the same number and are accepted: Windows prints them.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    if named:
        return make_digest(named[1], named[2].strip())
    by_digits = {algorithm.digits: str(algorithm) for algorithm in Algorithm} | {
        digits: name for name, digits in BROKEN.items()
    }
    return make_digest(by_digits.get(len(text), ""), text)


def make_digest(name: str, digits: str) -> Digest:
    """A digest by the name of its algorithm, as tools write it (`SHA256`, `SHA-256`, `SHA2-256`). Raises DigestRefused."""
    spelled = re.sub(r"[-_/]", "", name.lower()).replace("sha2256", "sha256").replace("sha2512", "sha512")
    where = f"{name}:{digits}"[:LONGEST_SHOWN] if name else digits[:LONGEST_SHOWN] or "the digest"
    if spelled in BROKEN:
        told = f"{name.upper()} is broken: anybody can make two files that have the same one"
        raise DigestRefused(where, told, "give a SHA-256, or --trust-first-use to record it", reason="broken")
    if spelled not in list(Algorithm):
        told = "it is no digest that phimage knows" if _HEX.fullmatch(digits) else "it is no digest"
        raise DigestRefused(
            where, told, "give sha256:<64 digits> or sha512:<128 digits>", reason="algorithm" if name else "form"
        )
    algorithm = Algorithm(spelled)
    if len(digits) != algorithm.digits or not _HEX.fullmatch(digits):
        told = f"a digest of {algorithm} has {algorithm.digits} hexadecimal digits"
        raise DigestRefused(where, told, "copy it again, whole", reason="form")
    if digits.lower() == _EMPTY[algorithm]:
        told = "it is the digest of a file without any byte"
        raise DigestRefused(where, told, "make it again from the image: its file was empty", reason="empty")
    return Digest(algorithm, digits.lower())


class Expected(Struct, frozen=True):
    """What the original bytes must have. Without a digest whatever they have is taken, and the caller records it.

    `origin` tells people where it comes from.
    """

    digest: Digest | None
    origin: str

    @property
    def known(self) -> bool:
        """Whether there is a digest that must be met."""
        return self.digest is not None

    def check(self, where: str, found: Digests, size: int) -> None:
        """Raises WrongDigest unless the bytes have the digest; KeyError if its algorithm was not asked of `Hashes`."""
        if self.digest is not None and found[self.digest.algorithm] != self.digest:
            has = str(found[self.digest.algorithm])
            raise WrongDigest(where, expected=str(self.digest), origin=self.origin, found=has, size=size)


TRUST: Final = Expected(None, "trusted on first use")
"""For an image whose publisher tells no digest: the one that is found is recorded."""


def given(text: str) -> Expected:
    """What a person or a catalogue file expects. Raises DigestRefused."""
    return Expected(read_digest(text), "as given")


class Hashes:
    """Digests of bytes that come one after the other: SHA-256 always, and another if it is expected."""

    def __init__(self, expected: Expected = TRUST) -> None:
        wanted = {Algorithm.SHA256} | ({expected.digest.algorithm} if expected.digest else set())
        self.size = 0
        self._running = {algorithm: hashlib.new(algorithm) for algorithm in sorted(wanted)}

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes. Large ones let other threads run."""
        self.size += len(data)
        for running in self._running.values():
            running.update(data)

    def update_all(self, pieces: Iterable[bytes]) -> None:
        """Add all pieces."""
        for piece in pieces:
            self.update(piece)

    def digests(self) -> Digests:
        """The digests of all bytes until now. More may follow."""
        return {algorithm: Digest(algorithm, running.hexdigest()) for algorithm, running in self._running.items()}
