"""Zstd files by frame lists: what they spare, and that a wrong or missing list never lets a bad byte through."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import msgspec
import pytest

from phimage.chunks.decorators import Operation, Result, StoreDecorator, StoreMetrics, measured
from phimage.chunks.frame import pack, zstd
from phimage.chunks.frame_list import ListedFrame, build, decode, listed, load_frame_list
from phimage.chunks.layout import ChunkDigest, chunk_name, frame_list_name
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import DiskReader
from phimage.chunks.write import Written
from phimage.delivery.app import Delivery
from phimage.delivery.disks import OpenDisk
from phimage.delivery.frame_list_maker import FrameListMaker
from phimage.http.counters import DownloadCounters
from tests import delivering
from tests.delivering import (
    CHUNK,
    IMAGE,
    Client,
    FakeAuthorizer,
    chunk_at,
    content_of,
    delivery_of,
    disk_bytes,
    sha256_of,
    write_disk,
)

written, authorizer, delivery = delivering.written, delivering.authorizer, delivering.delivery

ZST, RAW = f"/images/{IMAGE}.raw.zst", f"/images/{IMAGE}.raw"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def frame_names(written: Written) -> list[str]:
    return [chunk_name(chunk) for _, chunk in written.manifest.stored()]


def entries_of(store: MemoryStore, written: Written) -> list[ListedFrame]:
    frames = load_frame_list(store, written.digest, written.manifest)
    assert frames is not None
    return [frames[place] for place in range(len(frames))]


def put_entries(store: MemoryStore, written: Written, entries: list[ListedFrame]) -> None:
    store.put(frame_list_name(written.digest), build(iter(entries)).encode(written.digest))


def flip(store: MemoryStore, name: str) -> bytes:
    frame = bytearray(store.get(name))
    frame[len(frame) // 2] ^= 1
    store.put(name, bytes(frame))
    return bytes(frame)


def test_publishing_lists_every_frame_with_its_length_and_digest(store: MemoryStore, written: Written) -> None:
    assert entries_of(store, written) == [listed(store.get(name)) for name in frame_names(written)]


def test_a_disk_with_a_list_is_sent_without_a_question_about_its_frames(store: MemoryStore, written: Written) -> None:
    metrics: StoreMetrics = {}
    delivery = delivery_of(measured(store, metrics), FakeAuthorizer(content_of(written)))

    answer = Client(delivery).ask(ZST)
    delivery.close()

    assert zstd.decompress(answer.body) == disk_bytes()
    assert {operation: counted.calls for operation, counted in metrics.items()} == {"get": len(frame_names(written)) + 2}


def test_a_missing_list_is_made_at_the_first_use_and_changes_no_entity_tag(
    store: MemoryStore, written: Written, delivery: Delivery
) -> None:
    """As in a store of an earlier release."""
    before = store.get(frame_list_name(written.digest))
    store.delete(frame_list_name(written.digest))

    first = Client(delivery).ask(ZST, settle=True)
    again = Client(delivery).ask(ZST)

    assert first.whole
    assert (first.body, first.headers["etag"]) == (again.body, again.headers["etag"])
    assert store.get(frame_list_name(written.digest)) == before
    assert delivery.counters.frame_lists_made == 1


def test_no_list_is_made_of_a_disk_with_a_bad_chunk(store: MemoryStore, written: Written, delivery: Delivery) -> None:
    store.delete(frame_list_name(written.digest))
    flip(store, frame_names(written)[7])

    assert Client(delivery).ask(ZST, settle=True).status == 500

    assert store.find(frame_list_name(written.digest)) is None


def test_a_damaged_list_counts_as_missing_and_is_made_again(store: MemoryStore, written: Written, delivery: Delivery) -> None:
    good = store.get(frame_list_name(written.digest))
    flip(store, frame_list_name(written.digest))

    assert zstd.decompress(Client(delivery).ask(ZST, settle=True).body) == disk_bytes()

    assert store.get(frame_list_name(written.digest)) == good


def test_a_frame_that_the_list_does_not_know_is_sent_if_its_chunk_is_right(
    store: MemoryStore, written: Written, delivery: Delivery
) -> None:
    entries = entries_of(store, written)
    entries[3] = ListedFrame(entries[3].length, bytes(32))
    put_entries(store, written, entries)

    for _ in range(2):
        assert zstd.decompress(Client(delivery).ask(ZST).body) == disk_bytes()


def test_a_list_that_is_out_of_date_is_removed_and_made_again(store: MemoryStore, written: Written, delivery: Delivery) -> None:
    digest = chunk_at(written, 6)  # repeats itself, so that levels differ
    name = chunk_name(ChunkDigest(bytes.fromhex(digest)))
    raw = disk_bytes()[6 * CHUNK : 7 * CHUNK]
    frames = {len(frame): frame for level in (-7, 1, 9, 19) if len(frame := pack(raw, level)) != len(store.get(name))}
    store.put(name, frames.popitem()[1])
    client = Client(delivery)

    assert client.ask(ZST, settle=True).status == 503
    assert zstd.decompress(client.ask(ZST, settle=True).body) == disk_bytes()

    assert entries_of(store, written) == [listed(store.get(name)) for name in frame_names(written)]


def held_at(store: MemoryStore, held: Operation) -> tuple[StoreDecorator, threading.Event, threading.Event]:
    """The store, whose operations of a kind wait; an event that one of them sets; and the one that they wait for."""
    began, goes_on = threading.Event(), threading.Event()

    def around(operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        if operation == held:
            began.set()
            assert goes_on.wait(60)
        return call()

    return StoreDecorator(store, around), began, goes_on


def test_a_list_is_discarded_while_that_of_another_disk_is_being_made(store: MemoryStore, written: Written) -> None:
    """Reading another disk may take minutes, for which the response that asks to come again would wait."""
    other = write_disk(store, disk_bytes(chunks=3))
    slow, began, goes_on = held_at(store, "get")
    maker = FrameListMaker(slow, DownloadCounters())

    async def main() -> None:
        maker.make(OpenDisk(store, DiskReader(slow, other.digest, other.manifest)))
        await asyncio.to_thread(began.wait, 60)
        await asyncio.wait_for(maker.discard(written.digest), 60)

    try:
        asyncio.run(main())
    finally:
        goes_on.set()
        maker.close()
    assert store.find(frame_list_name(written.digest)) is None


def test_a_list_that_is_being_put_is_discarded_afterwards(store: MemoryStore, written: Written) -> None:
    slow, began, goes_on = held_at(store, "put")
    maker = FrameListMaker(slow, DownloadCounters())

    async def main() -> None:
        maker.make(OpenDisk(store, DiskReader(slow, written.digest, written.manifest)))
        await asyncio.to_thread(began.wait, 60)
        discarding = asyncio.create_task(maker.discard(written.digest))
        asyncio.get_running_loop().call_later(0, goes_on.set)  # once the task above has run
        await asyncio.wait_for(discarding, 60)

    try:
        asyncio.run(main())
    finally:
        goes_on.set()
        maker.close()
    assert store.find(frame_list_name(written.digest)) is None


def test_the_raw_form_never_trusts_a_list(store: MemoryStore, written: Written, delivery: Delivery) -> None:
    """Not even after the zstd form has sent a frame that the list calls good."""
    entries = entries_of(store, written)
    name = frame_names(written)[4]
    entries[4] = listed(flip(store, name))
    put_entries(store, written, entries)
    client = Client(delivery)
    client.ask(ZST)

    assert not client.ask(RAW).whole
    assert delivery.counters.bad_chunks == 1


def test_the_frames_of_a_disk_say_where_each_is_in_its_zstd_file(
    store: MemoryStore, written: Written, delivery: Delivery
) -> None:
    client = Client(delivery)
    whole = client.ask(ZST).body

    told = msgspec.json.decode(client.ask(f"/images/{IMAGE}/frames").body)

    at = chunks = 0
    for count, length, digest in told["frames"]:
        for _ in range(count):
            frame = client.ask(ZST, {"Range": f"bytes={at}-{at + length - 1}"}).body
            assert sha256_of(frame) == digest
            assert len(zstd.decompress(frame)) == written.manifest.length(chunks)
            at, chunks = at + length, chunks + 1
    assert (at, chunks, told["manifest"]) == (len(whole), written.manifest.count, written.digest)


def test_frames_that_are_not_listed_yet_are_asked_for_again(store: MemoryStore, written: Written, delivery: Delivery) -> None:
    store.delete(frame_list_name(written.digest))
    client = Client(delivery)

    assert client.ask(f"/images/{IMAGE}/frames", settle=True).status == 503
    assert client.ask(f"/images/{IMAGE}/frames").status == 200


def test_publishing_a_disk_again_after_a_repair_lists_the_new_frame(store: MemoryStore, written: Written) -> None:
    name = frame_names(written)[6]
    store.delete(name)
    entries = entries_of(store, written)
    entries[6] = ListedFrame(1, bytes(32))
    put_entries(store, written, entries)

    assert write_disk(store, disk_bytes()).digest == written.digest

    assert entries_of(store, written)[6] == listed(store.get(name))


def test_a_disk_with_chunks_of_others_gets_its_list_at_the_first_use(store: MemoryStore, written: Written) -> None:
    other = write_disk(store, disk_bytes() + bytes(CHUNK) + b"more")
    assert store.find(frame_list_name(other.digest)) is None
    delivery = delivery_of(store, FakeAuthorizer(content_of(other)))

    Client(delivery).ask(ZST, settle=True)
    delivery.close()

    assert entries_of(store, other) == [listed(store.get(name)) for name in frame_names(other)]


def test_only_the_whole_list_of_the_manifest_is_read(store: MemoryStore, written: Written) -> None:
    data = store.get(frame_list_name(written.digest))
    other = write_disk(MemoryStore(), disk_bytes(8))

    for wrong in (b"", data[:-1], data + b"\0", b"x" + data[1:]):
        with pytest.raises(ValueError, match="SHA-256"):
            decode(wrong, written.digest, written.manifest)
    with pytest.raises(ValueError, match="this manifest"):
        decode(data, other.digest, other.manifest)
