from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from phimage.chunks.decorators import StoreMetrics, limited, measured, retrying
from phimage.chunks.errors import Absent, StoreFailure
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Stored


class Flaky(MemoryStore):
    """Fails a number of times before it succeeds."""

    def __init__(self, failures: int, *, passing: bool = True) -> None:
        super().__init__()
        self.failures = failures
        self.passing = passing
        self.calls = 0

    def _maybe(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise StoreFailure("put", "a", "unreachable", passing=self.passing)

    def put(self, name: str, data: bytes) -> None:
        self._maybe()
        super().put(name, data)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        self._maybe()
        yield from super().list(prefix)


def test_a_failure_that_may_pass_is_tried_again_a_few_times_with_growing_pauses() -> None:
    slept: list[float] = []
    store = Flaky(3)

    retrying(store, tries=4, first_seconds=1, sleep=slept.append, jitter=lambda: 0.5).put("a", b"1")

    assert store.get("a") == b"1"
    assert slept == [1, 2, 4]


def test_the_last_failure_is_told() -> None:
    store = Flaky(100)

    with pytest.raises(StoreFailure):
        retrying(store, tries=3, sleep=lambda _: None).put("a", b"1")
    assert store.calls == 3


def test_a_failure_that_does_not_pass_is_told_at_once() -> None:
    store = Flaky(1, passing=False)
    with pytest.raises(StoreFailure):
        retrying(store, sleep=lambda _: None).put("a", b"1")
    assert store.calls == 1

    with pytest.raises(Absent):
        retrying(store).get("nothing")


def test_a_listing_is_not_begun_again() -> None:
    store = Flaky(1)
    with pytest.raises(StoreFailure):
        list(retrying(store, sleep=lambda _: None).list())
    assert store.calls == 1


class Busy(MemoryStore):
    """Counts its concurrent calls. Each waits until there are three."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.three = threading.Barrier(3, timeout=60)
        self.inside = 0
        self.limit = 0

    def put(self, name: str, data: bytes) -> None:
        with self.lock:
            self.inside += 1
            self.limit = max(self.limit, self.inside)
        self.three.wait()
        with self.lock:
            self.inside -= 1


def test_only_so_many_calls_are_under_way_at_once() -> None:
    busy = Busy()
    store = limited(busy, 3)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: store.put(f"a/{number}", b""), range(30)))
    assert busy.limit == 3


def test_a_reader_of_a_listing_may_call_the_same_store_even_if_only_one_call_is_let_through() -> None:
    store = limited(MemoryStore(), 1)
    for number in range(5):
        store.put(f"a/{number}", b"")

    for found in store.list("a"):
        store.delete(found.name)

    assert not list(store.list())


def test_calls_failures_bytes_and_seconds_are_counted_by_operation() -> None:
    metrics: StoreMetrics = {}
    times = iter(range(100))
    store = measured(MemoryStore(), metrics, clock=lambda: next(times))

    store.put("a", b"12345")
    store.put("b", b"123")
    assert store.get("a") == b"12345"
    with pytest.raises(Absent):
        store.get("c")
    assert len(list(store.list())) == 2

    put, get = metrics["put"], metrics["get"]
    assert (put.calls, put.failures, put.bytes_sent, put.bytes_received, put.seconds) == (2, 0, 8, 0, 2)
    assert (get.calls, get.failures, get.bytes_sent, get.bytes_received, get.seconds) == (2, 1, 0, 5, 2)
    assert metrics["list"].calls == 2  # a page, and the end
    assert "delete" not in metrics


def test_wrapping_changes_nothing_that_a_store_tells() -> None:
    store = retrying(limited(measured(MemoryStore(), {}), 2))

    assert store.describe() == "memory"
    assert store.settle_seconds == 0
    assert store.path("a") is None
    assert store.free_bytes() is None
    assert store.tidy(0) == 0
    store.sync(name for name in ("a", "b"))
    store.close()
