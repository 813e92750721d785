"""The store: named objects that are put whole, read whole and never changed in part. Its comments are the contract.

Every store keeps this contract and passes one conformance suite (tests/contract/test_store_conformance.py). Behaviour
is added by wrapping (`wrap`), never by flags. A store may be used from several threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct

MAX_OBJECT_BYTES = 256 << 20
"""No object is larger: a store refuses to put or to read more, so that a foreign file cannot fill the memory."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(?:/[a-z0-9][a-z0-9._-]{0,99}){0,7}")


class Stored(Struct, frozen=True):
    """An object as a store lists it."""

    name: str
    size: int  # bytes
    modified: float  # seconds since 1970, of the store's clock; never earlier than when it was put or refreshed


class Store(Protocol):
    """Named objects. Any call may raise StoreFailure; a name that `check_name` refuses raises ValueError."""

    @property
    def settle_seconds(self) -> float:
        """How long after `delete(name, before)` looked at an object it may still remove it.

        0 where looking and removing are one step. Elsewhere, who relies on an object that was put or refreshed only now
        looks for it again after this time.
        """

    def put(self, name: str, data: bytes) -> None:
        """Keep an object. Atomic: nobody ever sees a part of it. Durable when it returns. Its modification time is now.

        Putting a name again replaces the object, whole. On failure there is the old object, the new one, or none.
        """

    def get(self, name: str) -> bytes:
        """All bytes of an object. Raises Absent."""

    def find(self, name: str) -> Stored | None:
        """An object without its bytes, None if there is none."""

    def refresh(self, name: str, since: float) -> Stored | None:
        """See to it that an object was not modified before `since`, without sending its bytes again.

        If it was, its modification time becomes now. Returns the object as it is then, None if there is none. No `delete`
        with `before <= since` removes it afterwards (but see `settle_seconds`).
        """

    def delete(self, name: str, before: float | None = None) -> bool:
        """Remove an object, with `before` only if it was last modified earlier. True if it is gone, whoever did it."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """All objects, or those in the folder `prefix` and below, in no particular order.

        What is put or deleted meanwhile may be listed or not; everything else is listed exactly once.
        """

    def sync(self, names: Iterable[str]) -> None:
        """What this caller has found under these names, perhaps while another was still putting it, is now durable."""

    def path(self, name: str) -> Path | None:
        """The file that has exactly the object's bytes, where objects are local files. It need not exist."""

    def free_bytes(self) -> int | None:
        """How much more can be kept, None if nobody knows."""

    def tidy(self, before: float) -> int:
        """Remove what dead writers left unfinished before a time. Returns how many leftovers there were."""

    def describe(self) -> str:
        """Where the store is, in words for an operator; without secrets."""

    def close(self) -> None:
        """Let go of what is open. No call after it."""


def check_name(name: str) -> str:
    """A name: lower-case ASCII, `/` between its parts, no part hidden. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of an object")
    return name


def check_prefix(prefix: str) -> str:
    """The name of a folder, or nothing. Raises ValueError."""
    return check_name(prefix) if prefix else ""


def inside(name: str, prefix: str) -> bool:
    """Whether an object is in a folder or below."""
    return not prefix or name.startswith(f"{prefix}/")
