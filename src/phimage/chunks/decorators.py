"""Decorators of stores: `retrying`, `persistent`, `limited`, `measured`. Each takes a store and returns a store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Interceptor(Protocol):
    """Wraps each call that may wait for a disk or a network."""

    def __call__(self, operation: Operation, sent: int, call: Callable[[], Result], /) -> Result:
        """Make the call. `sent` is the number of bytes that it sends. A `list` is one call for each page."""


class StoreDecorator:
    """A store that passes every call through an interceptor."""

    def __init__(self, store: Store, around: Interceptor) -> None:
        self._store = store
        self._around = around

    @property
    def settle_seconds(self) -> float:
        """See Store."""
        return self._store.settle_seconds

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        self._around("put", len(data), lambda: self._store.put(name, data))

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See Store. It counts as one put."""
        self._around("put", sum(len(data) for _, data in objects), lambda: self._store.put_all(objects))

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

    def delete_old(self, names: Sequence[str], before: float) -> Sequence[str]:
        """See Store. Counts as one `delete`."""
        return self._around("delete", 0, lambda: self._store.delete_old(names, before))

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
    """Retry passing failures, with at most `tries` attempts and exponential backoff.

    Every call is idempotent: objects are named by their content, and a removal by age checks the age again. Only a listing is
    not retried, because it would repeat objects.
    """

    def retry(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        for number in range(tries - 1):
            try:
                return call()
            except StoreFailure as failure:
                if not failure.passing or operation == "list":
                    raise
            sleep(first_seconds * 2**number * (0.5 + jitter()))
        return call()

    return StoreDecorator(store, retry)


def persistent(store: Store, patience: Patience) -> Store:
    """Retry passing failures as long as `patience` allows, then raise Unreachable or Locked.

    A broken listing is not retried, because it would repeat objects.
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
    return StoreDecorator(store, persist)


def limited(store: Store, limit: int) -> Store:
    """Allow at most `limit` concurrent calls; others wait."""
    semaphore = threading.BoundedSemaphore(limit)

    def limit_calls(_operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        with semaphore:
            return call()

    return StoreDecorator(store, limit_calls)


class OperationMetrics(Struct):
    """Totals of the calls of one operation."""

    calls: int = 0
    failures: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


StoreMetrics = dict[Operation, OperationMetrics]


def measured(store: Store, metrics: StoreMetrics, clock: Callable[[], float] = time.perf_counter) -> Store:
    """Count calls, failures, bytes and seconds into `metrics`, by operation. They may be read at any time."""
    lock = threading.Lock()

    def counted(operation: Operation, sent: int, call: Callable[[], Result]) -> Result:
        begun, received, failed = clock(), 0, 1
        try:
            result = call()
            received, failed = len(result) if isinstance(result, bytes) else 0, 0
            return result
        finally:
            with lock:
                operation_metrics = metrics.setdefault(operation, OperationMetrics())
                operation_metrics.calls += 1
                operation_metrics.failures += failed
                operation_metrics.bytes_sent += sent
                operation_metrics.bytes_received += received
                operation_metrics.seconds += clock() - begun

    return StoreDecorator(store, counted)
