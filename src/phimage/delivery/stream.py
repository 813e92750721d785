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

from phimage.delivery.representation import Bytes, Piece
from phimage.http.asgi import Receive, Send
from phimage.http.min_rate import Lag, MinRate

SLOW_BYTES = 256 << 10
"""The size of a message to a client that has not shown that it reads fast: it must show that it reads."""
_FAST_BYTES = 1 << 20
_FAST_SECONDS = 0.25
"""A client that takes a message within this time gets larger ones."""
_MAX_QUEUED = 64
"""Pieces that wait to be sent, most of them zeros, which need no memory."""


class DownloadLimits(Struct, frozen=True):
    """The resources of downloads in one process."""

    concurrent: int = 64  # downloads that are sent at the same time; more get 503
    # docs/decisions.md#places-have-shares
    shares: Mapping[str, float] = MappingProxyType({"account": 0.75, "project": 0.5, "URL": 0.25})
    threads: int = 8  # which read, decompress and verify for all downloads together
    prefetch_bytes: int = 2 << 20  # for each download; at least one chunk
    shared_bytes: int = 32 << 20  # of frames that downloads of one disk share, for all downloads together
    stall: float = 60.0  # seconds that a client has to read each 256 KiB
    min_rate: MinRate = MinRate()


class End(Enum):
    """How a body ended."""

    WHOLE = "whole"
    STALLED = "stalled"
    LEFT = "left"


class BodyStream:
    """The pieces of one body, in order, a few of them prefetched."""

    def __init__(self, pieces: Iterator[Piece], threads: ThreadPoolExecutor, prefetch: int) -> None:
        """`prefetch`: the number of pieces that are made ahead."""
        self._pieces = pieces
        self._threads = threads
        self._prefetch = prefetch
        self._queue: deque[asyncio.Future[Bytes | list[Bytes]] | Bytes] = deque()
        self._in_progress = 0
        self._first: list[Bytes] | None = None

    async def prepare(self) -> None:
        """Make the first piece, before anything is sent. Raises what the piece raises."""
        self._first = await self._next()

    async def next(self) -> tuple[list[Bytes], bool]:
        """The next piece in parts, at least one, and whether more follow."""
        data, self._first = self._first, None
        if data is None:
            data = await self._next()
        return data, bool(self._queue)

    def close(self) -> None:
        """Cancel the prefetched pieces."""
        for piece in self._queue:
            if isinstance(piece, asyncio.Future):
                piece.cancel()
        self._queue.clear()

    async def _next(self) -> list[Bytes]:
        self._fill()
        if not self._queue:
            return [b""]
        piece = self._queue.popleft()
        if isinstance(piece, asyncio.Future):
            made = await piece
            self._in_progress -= 1
        else:
            made = piece
            await asyncio.sleep(0)  # nothing was waited for, so others have their turn here
        self._fill()
        return made if isinstance(made, list) else [made]

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while (
            self._in_progress < self._prefetch
            and len(self._queue) < _MAX_QUEUED
            and (piece := next(self._pieces, None)) is not None
        ):
            if callable(piece):
                future = loop.run_in_executor(self._threads, piece)
                future.add_done_callback(_retrieve_exception)
                self._in_progress += 1
                self._queue.append(future)
            else:
                self._queue.append(piece)


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

    loop, pace = asyncio.get_running_loop(), _Pace(limits)
    watcher: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(None) as timeout:
            more = True
            while more:
                data, more = await body.next()
                if more and watcher is None:
                    watcher = asyncio.create_task(watch(timeout))
                for part, is_last in _messages(data, pace):
                    began = loop.time()
                    if not left:
                        timeout.reschedule(began + pace.allowed(len(part)))
                    await send({"type": "http.response.body", "body": part, "more_body": more or not is_last})
                    pace.add(loop.time() - began, len(part))
                    sent(len(part))
                if not left:
                    timeout.reschedule(None)
    except TimeoutError:
        return End.LEFT if left else End.STALLED
    finally:
        if watcher is not None:
            watcher.cancel()
    return End.WHOLE


class _Pace:
    """How fast a client reads: how much it is sent at a time, and how long that may take."""

    def __init__(self, limits: DownloadLimits) -> None:
        self.size = SLOW_BYTES
        self._stall = limits.stall
        self._lag = Lag(limits.min_rate)

    def allowed(self, size: int) -> float:
        """The seconds that the next message may take."""
        return min(self._stall * max(1, -(-size // SLOW_BYTES)), self._lag.allowed(size))

    def add(self, seconds: float, size: int) -> None:
        """Count a message and the seconds that it took."""
        self.size = _FAST_BYTES if seconds < _FAST_SECONDS else SLOW_BYTES
        self._lag.add(seconds, size)


def _messages(parts: list[Bytes], pace: _Pace) -> Iterator[tuple[Bytes, bool]]:
    """The messages of a piece, without copies, each with whether it is the last."""
    for number, data in enumerate(parts, 1):
        is_last_part = number == len(parts)
        if len(data) <= pace.size:
            yield data, is_last_part
            continue
        view, at = memoryview(data), 0
        while at < len(data):
            end = at + pace.size
            yield view[at:end], is_last_part and end >= len(data)
            at = end


def _retrieve_exception(future: asyncio.Future[Bytes | list[Bytes]]) -> None:
    """Retrieve an abandoned piece's exception so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()
