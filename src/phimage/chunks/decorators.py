"""Behaviour of stores that is added around them: `retrying`, `persistent`, `limited`, `measured`.

Each takes a store and gives a store.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from phimage.chunks.errors import StoreFailure
from phimage.chunks.store import Store, Stored
from phimage.waiting import NotNow, Patience

Result = TypeVar("Result")
Operation = Literal["put", "get", "find", "refresh", "delete", "list", "sync", "free_bytes", "tidy"]

_PAGE = 1000


class Around(Protocol):
    """What is done around each call that may wait for a disk or a network."""

    def __call__(self, operation: Operation, sent: int, call: Callable[[], Result], /) -> Result:
        """Make the call. `sent` is how many bytes it carries. For `list` it is called once for each page."""


class Wrapped:
    """A store with something around every call."""

    def __init__(self, store: Store, around: Around) -> None:
        self._store = store
        self._around = around

    @property
    def settle_seconds(self) -> float:
        """See Store."""
        return self._store.settle_seconds

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        self._around("put", len(data), lambda: self._store.put(name, data))

    def get(self, name: str) -> bytes:
        """See Store."""
        return self._around("get", 0, lambda: self._store.get(name))

    def find(self, name: str) -> Stored | None:
        """See Store."""
        return self._around("find", 0, lambda: self._store.find(name))

    def refresh(self, name: str, since: float) -> Stored | None:
        """See Store."""
        return self._around("refresh", 0, lambda: self._store.refresh(name, since))

    def delete(self, name: str, before: float | None = None) -> bool:
        """See Store."""
        return self._around("delete", 0, lambda: self._store.delete(name, before))

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See Store."""
        listed = iter(self._store.list(prefix))
        while page := self._around("list", 0, lambda: tuple(islice(listed, _PAGE))):
            yield from page

    def sync(self, names: Iterable[str]) -> None:
        """See Store."""
        known = tuple(names)
        self._around("sync", 0, lambda: self._store.sync(known))

    def path(self, name: str) -> Path | None:
        """See Store."""
        return self._store.path(name)

    def free_bytes(self) -> int | None:
        """See Store."""
        return self._around("free_bytes", 0, self._store.free_bytes)

    def tidy(self, before: float) -> int:
        """See Store."""
        return self._around("tidy", 0, lambda: self._store.tidy(before))

    def describe(self) -> str:
        """See Store."""
        return self._store.describe()

    def close(self) -> None:
        """See Store."""
        self._store.close()


def retrying(
    store: Store,
    *,
    tries: int = 5,
    first_seconds: float = 0.1,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Store:
    """Make a call again when its failure may pass, at most `tries` times in all, waiting twice as long each time.

    Every call may be repeated: names are of contents, and a removal by age looks at the age again. Only a listing is not, for
    what was listed would come again.
    """

    def again(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        for number in range(tries - 1):
            try:
                return call()
            except StoreFailure as failure:
                if not failure.passing or operation == "list":
                    raise
            sleep(first_seconds * 2**number * (0.5 + jitter()))
        return call()

    return Wrapped(store, again)


def persistent(store: Store, patience: Patience) -> Store:
    """Make a call again while its failure may pass, as long as there is patience; then raise Unreachable or Locked.

    A listing that broke is not begun again, for what was listed would come again.
    """

    def persist(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        def attempt() -> Result:
            try:
                return call()
            except StoreFailure as failure:
                if not failure.passing:
                    raise
                reason = NotNow(failure.detail or failure.reason, locked=failure.reason == "busy")
                if operation == "list":
                    raise patience.given_up(what, reason) from failure
                raise reason from failure

        return patience.persist(what, attempt)

    what = f"the store {store.describe()}"
    return Wrapped(store, persist)


def limited(store: Store, limit: int) -> Store:
    """Let at most `most` calls be under way at once; others wait."""
    places = threading.BoundedSemaphore(limit)

    def one_of_few(_operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        with places:
            return call()

    return Wrapped(store, one_of_few)


class Measure(Struct):
    """What the calls of one operation came to."""

    calls: int = 0
    failures: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


Measures = dict[Operation, Measure]


def measured(store: Store, measures: Measures, clock: Callable[[], float] = time.perf_counter) -> Store:
    """Count calls, failures, bytes and seconds into `measures`, by operation. Read them at any time."""
    lock = threading.Lock()

    def counted(operation: Operation, sent: int, call: Callable[[], Result]) -> Result:
        begun, received, failed = clock(), 0, 1
        try:
            result = call()
            received, failed = len(result) if isinstance(result, bytes) else 0, 0
            return result
        finally:
            with lock:
                measure = measures.setdefault(operation, Measure())
                measure.calls += 1
                measure.failures += failed
                measure.bytes_sent += sent
                measure.bytes_received += received
                measure.seconds += clock() - begun

    return Wrapped(store, counted)
