"""The store: named objects that are put, read and replaced as a whole. Its comments are the contract.

Every store implements this contract and passes one conformance suite (tests/contract/test_store_conformance.py). Behaviour is
added by decorators (`decorators.py`), never by flags. Stores are thread-safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

MAX_OBJECT_BYTES = 256 << 20
"""The max size of an object. A store refuses to put or to read more, so that a foreign file cannot fill the memory."""

MAX_DELETED = 250
"""The max objects that one call of `delete_old` removes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(?:/[a-z0-9][a-z0-9._-]{0,99}){0,7}")


class Stored(Struct, frozen=True):
    """An object in a listing."""

    name: str
    size: int  # bytes
    modified: float  # seconds since 1970, of the store's clock; never earlier than when it was put or refreshed


class Store(Protocol):
    """Named objects. Any call may raise StoreFailure; a name that `check_name` refuses raises ValueError."""

    @property
    def settle_seconds(self) -> float:
        """The max seconds between the check of an object by `delete(name, before)` and its removal.

        0 where checking and removing are one step. Elsewhere, a caller that relies on an object put or refreshed recently must
        check again after this time.
        """

    def put(self, name: str, data: bytes) -> None:
        """Store an object with the present modification time. Atomic, and durable on return.

        Putting a name again replaces the whole object. After a failure there is the old object, the new one, or none.
        """

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Store objects by name, like `put` for each; all are durable on return. None is visible before its bytes are durable.

        Cheaper than single puts where a store can make many objects durable at once. After a failure each object is as after
        a failed `put`.
        """

    def get(self, name: str) -> bytes:
        """All bytes of an object. Raises Absent."""

    def find(self, name: str) -> Stored | None:
        """The size and modification time of an object, None if there is none."""

    def refresh(self, name: str, since: float) -> Stored | None:
        """Set the modification time of an object to now if it is before `since`, without sending its bytes again.

        Returns the object afterwards, None if there is none. No later `delete` with `before <= since` removes it (but see
        `settle_seconds`).
        """

    def delete(self, name: str, before: float | None = None) -> bool:
        """Remove an object, with `before` only if it was modified earlier. Returns whether the object is absent now."""

    def delete_old(self, names: Sequence[str], before: float) -> Sequence[str]:
        """Like `delete(name, before)` for each of at most MAX_DELETED names. Returns the names of objects that are absent now.

        Some may be removed before a failure.
        """

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """All objects, or those in the folder `prefix` and below, in no particular order.

        Objects put or deleted meanwhile may be listed or not; every other object is listed exactly once.
        """

    def sync(self, names: Iterable[str]) -> None:
        """Make the objects of these names durable, even those that another writer is still putting."""

    def path(self, name: str) -> Path | None:
        """The file with exactly the object's bytes, where objects are local files; it need not exist. None elsewhere."""

    def free_bytes(self) -> int | None:
        """The free bytes of the store, None if unknown."""

    def tidy(self, before: float) -> int:
        """Remove unfinished objects that dead writers left before a time. Returns their number."""

    def describe(self) -> str:
        """The location of the store for an operator, without secrets."""

    def close(self) -> None:
        """Release all resources. The last call."""


def check_name(name: str) -> str:
    """Validate a name: lower-case ASCII, `/` between its parts, no part hidden. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of an object")
    return name


def check_prefix(prefix: str) -> str:
    """Validate the name of a folder, or "". Raises ValueError."""
    return check_name(prefix) if prefix else ""


def inside(name: str, prefix: str) -> bool:
    """Whether an object is in a folder or below."""
    return not prefix or name.startswith(f"{prefix}/")
