from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from phimage.delivery.representation import Piece
from phimage.delivery.stream import BodyStream, DownloadLimits, End, send_body
from phimage.http.asgi import Message
from phimage.http.min_rate import MinRate
from tests import virtual_time


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as found:
        yield found


class Wire:
    """A client that reads what it is sent until it stops reading, or leaves."""

    def __init__(self, reads: int = 1_000_000, leaves_after: int = 1_000_000) -> None:
        self.got: list[Message] = []
        self._reads = reads
        self._leaves_after = leaves_after
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.got) >= self._reads:
            await asyncio.Event().wait()
        self.got.append(message)
        if len(self.got) >= self._leaves_after:
            self._left.set()
            await asyncio.Event().wait()

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.got)


def run(
    pieces: Iterator[Piece],
    threads: ThreadPoolExecutor,
    wire: Callable[[], Wire] = Wire,
    stall: float = 60,
    prefetch: int = 3,
    min_rate: MinRate = MinRate(0),  # noqa: B008 - it is frozen
) -> tuple[Wire, End, int]:
    async def main() -> tuple[Wire, End, int]:
        client = wire()
        sent: list[int] = []
        body = BodyStream(pieces, threads, prefetch)
        await body.prepare()
        try:
            limits = DownloadLimits(stall=stall, min_rate=min_rate)
            end = await send_body(body, client.receive, client.send, limits, sent.append)
        finally:
            body.close()
        return client, end, sum(sent)

    return virtual_time.run(main())


def constant(*contents: bytes) -> Iterator[Piece]:
    return iter([partial(bytes, content) for content in contents])


def test_pieces_arrive_in_their_order_and_the_last_one_says_so(threads: ThreadPoolExecutor) -> None:
    wire, end, sent = run(constant(*(b"%d," % number for number in range(50))), threads)

    assert wire.body == b"".join(b"%d," % number for number in range(50))
    assert [message["more_body"] for message in wire.got] == [True] * 49 + [False]
    assert (end, sent) == (End.WHOLE, len(wire.body))


def test_a_large_piece_is_sent_in_messages_that_grow_while_the_client_reads_fast(threads: ThreadPoolExecutor) -> None:
    wire, _, _ = run(constant(b"a" * (5 << 18), b"b" * (1 << 18)), threads)

    assert [len(message["body"]) for message in wire.got] == [1 << 18, 1 << 20, 1 << 18]
    assert [message["more_body"] for message in wire.got] == [True, True, False]
    assert wire.body == b"a" * (5 << 18) + b"b" * (1 << 18)


def test_a_client_that_reads_slowly_is_sent_a_quarter_of_a_mebibyte_at_a_time(threads: ThreadPoolExecutor) -> None:
    class Slow(Wire):
        async def send(self, message: Message) -> None:
            await asyncio.sleep(0.3)
            await super().send(message)

    wire, _, _ = run(constant(b"a" * (3 << 18)), threads, Slow)

    assert [len(message["body"]) for message in wire.got] == [1 << 18] * 3


def test_pieces_that_exist_already_take_their_place_among_made_ones(threads: ThreadPoolExecutor) -> None:
    pieces: list[Piece] = [partial(bytes, b"%d" % number) if number % 3 else b"%d" % number for number in range(200)]

    wire, end, _ = run(iter(pieces), threads)

    assert wire.body == b"".join(b"%d" % number for number in range(200))
    assert end is End.WHOLE


def test_no_pieces_are_an_empty_body(threads: ThreadPoolExecutor) -> None:
    wire, end, _ = run(constant(), threads)

    assert [(message["body"], message["more_body"]) for message in wire.got] == [(b"", False)]
    assert end is End.WHOLE


def test_a_client_that_stops_reading_is_given_up(threads: ThreadPoolExecutor) -> None:
    wire, end, sent = run(constant(*[b"x"] * 10), threads, lambda: Wire(reads=4), stall=0.05)

    assert end is End.STALLED
    assert sent == len(wire.got) == 4


class SlowWire(Wire):
    """A client that takes its time for each message."""

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0.02)
        await super().send(message)


def test_a_client_that_reads_slower_than_the_minimum_is_given_up_although_it_never_stalls(threads: ThreadPoolExecutor) -> None:
    wire, end, sent = run(constant(*[b"x"] * 1000), threads, SlowWire, min_rate=MinRate(1000.0, 0.2))

    assert end is End.STALLED
    assert 0 < sent == len(wire.got) <= 11


@pytest.mark.parametrize("min_rate", [MinRate(0), MinRate(1.0, 600.0)], ids=["without a minimum", "above the minimum"])
def test_a_slow_client_gets_all_of_it(threads: ThreadPoolExecutor, min_rate: MinRate) -> None:
    _, end, sent = run(constant(*[b"x"] * 20), threads, SlowWire, min_rate=min_rate)

    assert (end, sent) == (End.WHOLE, 20)


def test_a_store_that_is_slow_does_not_count_against_the_client(threads: ThreadPoolExecutor) -> None:
    def slow() -> Iterator[Piece]:
        for _ in range(10):
            loop = asyncio.get_running_loop()
            assert isinstance(loop, virtual_time.VirtualLoop)
            loop.pass_time(1.0)
            yield partial(bytes, b"x")

    _, end, _ = run(slow(), threads, min_rate=MinRate(1_000_000.0, 0.3), prefetch=1)

    assert end is End.WHOLE


def test_a_client_that_leaves_is_noticed_while_it_is_being_sent_something(threads: ThreadPoolExecutor) -> None:
    wire, end, sent = run(constant(*[b"x"] * 10), threads, lambda: Wire(leaves_after=3))

    assert end is End.LEFT
    assert (sent, len(wire.got)) == (2, 3)


def test_only_a_few_pieces_are_prefetched(threads: ThreadPoolExecutor) -> None:
    made = []

    def make(number: int) -> bytes:
        made.append(number)
        return b"x"

    _, end, _ = run((partial(make, number) for number in range(100)), threads, lambda: Wire(reads=5), stall=0.05, prefetch=3)

    assert end is End.STALLED
    assert len(made) <= 5 + 1 + 3


def test_a_piece_that_fails_ends_the_body_before_it(threads: ThreadPoolExecutor) -> None:
    def fail() -> bytes:
        raise ValueError("bad")

    clients: list[Wire] = []

    def wire() -> Wire:
        clients.append(Wire())
        return clients[0]

    with pytest.raises(ValueError, match="bad"):
        run(iter([partial(bytes, b"a"), partial(bytes, b"b"), fail, partial(bytes, b"c")]), threads, wire)
    assert clients[0].body == b"ab"
    assert clients[0].got[-1]["more_body"]


def test_a_first_piece_that_fails_is_known_before_anything_is_sent(threads: ThreadPoolExecutor) -> None:
    def fail() -> bytes:
        raise ValueError("bad")

    async def main() -> None:
        with pytest.raises(ValueError, match="bad"):
            await BodyStream(iter([fail]), threads, 2).prepare()

    asyncio.run(main())


def test_threads_are_shared_by_all_bodies(threads: ThreadPoolExecutor) -> None:
    running, limit, lock = 0, 0, threading.Lock()

    def make() -> bytes:
        nonlocal running, limit
        with lock:
            running += 1
            limit = max(limit, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1
        return b"x"

    async def one() -> End:
        client = Wire()
        body = BodyStream(iter([make] * 20), threads, 3)
        await body.prepare()
        return await send_body(body, client.receive, client.send, DownloadLimits(), lambda _: None)

    async def main() -> list[End]:
        waiting: list[Awaitable[End]] = [one() for _ in range(10)]
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [End.WHOLE] * 10
    assert limit <= 4
