"""Streaming a body: shared threads prefetch its pieces, the event loop sends them one by one and stops for a stalled client.

A body that fails midway ends without its last bytes. Content-Length was sent before, so the server closes the connection and
the client sees that the body is short.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from types import MappingProxyType

from msgspec import Struct

from phimage.delivery.representation import Piece
from phimage.http.asgi import Receive, Send
from phimage.http.min_rate import Lag, MinRate

_SEND_BYTES = 256 << 10


class DownloadLimits(Struct, frozen=True):
    """The resources of downloads in one process."""

    concurrent: int = 64  # downloads that are sent at the same time; more get 503
    # docs/decisions.md#places-have-shares
    shares: Mapping[str, float] = MappingProxyType({"account": 0.75, "project": 0.5, "URL": 0.25})
    threads: int = 8  # which read, decompress and verify for all downloads together
    prefetch_bytes: int = 2 << 20  # for each download; at least one chunk
    stall: float = 60.0  # seconds that a client has to read 256 KiB
    min_rate: MinRate = MinRate()


class End(Enum):
    """How a body ended."""

    WHOLE = "whole"
    STALLED = "stalled"
    LEFT = "left"


class BodyStream:
    """The pieces of one body, in order, a few of them prefetched."""

    def __init__(self, pieces: Iterator[Piece], threads: ThreadPoolExecutor, prefetch: int) -> None:
        """`prefetch`: the number of pieces."""
        self._pieces = pieces
        self._threads = threads
        self._prefetch = prefetch
        self._futures: deque[asyncio.Future[bytes]] = deque()
        self._first: bytes | None = None

    async def prepare(self) -> None:
        """Make the first piece, before anything is sent. Raises what the piece raises."""
        self._first = await self._next()

    async def next(self) -> tuple[bytes, bool]:
        """The next piece, and whether more follow."""
        data, self._first = self._first, None
        if data is None:
            data = await self._next()
        return data, bool(self._futures)

    def close(self) -> None:
        """Cancel the prefetched pieces."""
        for future in self._futures:
            future.cancel()
        self._futures.clear()

    async def _next(self) -> bytes:
        self._fill()
        if not self._futures:
            return b""
        data = await self._futures.popleft()
        self._fill()
        return data

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._futures) < self._prefetch and (piece := next(self._pieces, None)) is not None:
            future = loop.run_in_executor(self._threads, piece)
            future.add_done_callback(_retrieve_exception)
            self._futures.append(future)


async def send_body(
    body: BodyStream, receive: Receive, send: Send, limits: DownloadLimits, sent: Callable[[int], object]
) -> End:
    """Send a body after its header. Calls `sent` with the size of each message. Raises what a piece raises.

    After any result but `WHOLE`, or an exception, the caller must not send anything more.
    """
    left = False

    async def watch(ending: asyncio.Timeout) -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        with suppress(RuntimeError):  # the timeout has ended
            ending.reschedule(asyncio.get_running_loop().time())

    loop, lag = asyncio.get_running_loop(), Lag(limits.min_rate)
    watcher: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(None) as timeout:
            more = True
            while more:
                data, more = await body.next()
                if more and watcher is None:
                    watcher = asyncio.create_task(watch(timeout))
                for part, is_last in _parts(data):
                    began = loop.time()
                    if not left:
                        timeout.reschedule(began + min(limits.stall, lag.allowed(len(part))))
                    await send({"type": "http.response.body", "body": part, "more_body": more or not is_last})
                    lag.add(loop.time() - began, len(part))
                    sent(len(part))
                if not left:
                    timeout.reschedule(None)
    except TimeoutError:
        return End.LEFT if left else End.STALLED
    finally:
        if watcher is not None:
            watcher.cancel()
    return End.WHOLE


def _parts(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The messages of a piece, each with whether it is the last. Kept small: a slow client must show that it reads."""
    if len(data) <= _SEND_BYTES:
        yield data, True
        return
    for at in range(0, len(data), _SEND_BYTES):
        yield data[at : at + _SEND_BYTES], at + _SEND_BYTES >= len(data)


def _retrieve_exception(future: asyncio.Future[bytes]) -> None:
    """Retrieve an abandoned piece's exception so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()
