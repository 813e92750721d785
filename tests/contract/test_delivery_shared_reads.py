"""Downloads of one disk that run at the same time share reads of the store, and only those do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from phimage.chunks.decorators import StoreDecorator
from phimage.chunks.frame import pack
from phimage.chunks.memory import MemoryStore
from phimage.chunks.write import Written
from phimage.delivery.app import Delivery
from phimage.delivery.shared_reads import SHARED_SECONDS, SharedReads
from phimage.delivery.stream import DownloadLimits
from tests.delivering import IMAGE, Answered, Client, FakeAuthorizer, chunk_at, content_of, delivery_of, disk_bytes, write_disk

AT_ONCE = 20
RAW, ZST = (f"/images/{IMAGE}{form}" for form in (".raw", ".raw.zst"))


class CountingStore(StoreDecorator):
    """Counts how often each chunk is read, and takes a moment for it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), lambda operation, sent, call: call())
        self.reads: Counter[str] = Counter()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes:
        if name.startswith("chunks/"):
            with self._lock:
                self.reads[name] += 1
            time.sleep(0.002)
        return self._store.get(name)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def written(store: CountingStore) -> Written:
    found = write_disk(store, disk_bytes())
    store.reads.clear()
    return found


@pytest.fixture
def delivery(store: CountingStore, written: Written) -> Iterator[Delivery]:
    found = delivery_of(store, FakeAuthorizer(content_of(written)), DownloadLimits(concurrent=4 * AT_ONCE))
    yield found
    found.close()


def ask_together(delivery: Delivery, path: str, ranges: list[str | None]) -> list[Answered]:
    client = Client(delivery)

    async def main() -> list[Answered]:
        headers = [{} if each is None else {"Range": each} for each in ranges]
        answers = await asyncio.gather(*(client.ask_many(path, [each]) for each in headers))
        return [answer for [answer] in answers]

    return asyncio.run(main())


@pytest.mark.parametrize("path", [RAW, ZST])
def test_twenty_downloads_at_once_read_no_chunk_more_than_twice(store: CountingStore, delivery: Delivery, path: str) -> None:
    answers = ask_together(delivery, path, [None] * AT_ONCE)

    assert max(store.reads.values()) <= 2  # the first of them may be alone for a moment
    assert {answer.body for answer in answers} == {Client(delivery).ask(path).body}


def test_clients_that_ask_for_parts_one_after_another_read_each_chunk_once(store: CountingStore, delivery: Delivery) -> None:
    whole = Client(delivery).ask(ZST).body
    store.reads.clear()
    parts = [f"bytes={at}-{min(at + 99_999, len(whole) - 1)}" for at in range(0, len(whole), 100_000)]

    for part in parts:
        for _ in range(3):
            Client(delivery).ask(ZST, {"Range": part})

    assert set(store.reads.values()) == {1}


def test_a_download_that_is_alone_reads_the_store(store: CountingStore, delivery: Delivery) -> None:
    for _ in range(3):
        Client(delivery).ask(ZST)

    assert set(store.reads.values()) == {3}


def test_a_chunk_that_is_lost_is_noticed_by_the_next_download(
    store: CountingStore, written: Written, delivery: Delivery
) -> None:
    assert Client(delivery).ask(RAW).whole
    lost = next(each.name for each in store.list("chunks") if each.name.endswith(chunk_at(written, 1)))
    store.delete(lost)

    assert not Client(delivery).ask(RAW).whole


def test_a_bad_frame_is_not_kept(store: CountingStore, written: Written, delivery: Delivery) -> None:
    """Once it is repaired, the next request has it."""
    name = next(each.name for each in store.list("chunks") if each.name.endswith(chunk_at(written, 1)))
    good = store.get(name)
    store.put(name, pack(b"something else"))
    refused = Client(delivery).ask(RAW, {"Range": "bytes=65536-65600"})
    store.put(name, good)

    assert refused.status == 500
    assert Client(delivery).ask(RAW, {"Range": "bytes=65536-65600"}).body == disk_bytes()[65536:65601]


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_kept_frames_are_bounded_in_bytes_and_in_age(store: CountingStore, written: Written) -> None:
    clock = Clock()
    reads = SharedReads(store, 150_000, clock)
    source = reads.source(written.digest)
    names = [each.name for each in store.list("chunks")]

    async def main() -> None:
        with reads.download(written.digest, of_part=True):
            for name in names:
                source.get(name)
                assert reads.kept_bytes <= 150_000
            source.get(names[-1])
            assert store.reads[names[-1]] == 1
            assert reads.kept_bytes > 0
            clock.time += SHARED_SECONDS
            source.get(names[-1])
            assert store.reads[names[-1]] == 2
        clock.time += SHARED_SECONDS
        with reads.download(written.digest, of_part=False):
            pass
        assert reads.kept_bytes == 0

    asyncio.run(main())


def test_an_error_of_a_shared_read_reaches_all_and_is_not_kept(
    store: CountingStore, written: Written, delivery: Delivery
) -> None:
    name = next(each.name for each in store.list("chunks") if each.name.endswith(chunk_at(written, 1)))
    good = store.get(name)
    store.delete(name)
    answers = ask_together(delivery, RAW, ["bytes=65536-131071"] * AT_ONCE)
    store.put(name, good)

    assert {answer.status for answer in answers} == {500}
    assert Client(delivery).ask(RAW, {"Range": "bytes=65536-131071"}).status == 206
