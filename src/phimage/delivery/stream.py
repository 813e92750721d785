"""A body on its way to a client: pieces made a little ahead in shared threads, sent one by one, given up when nobody reads.

A body that cannot be finished is ended without its last bytes. Since its length was announced, the client sees that it is
short: the server closes the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from typing import Any

from msgspec import Struct

from phimage.delivery.representation import Piece

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SEND_BYTES = 1 << 20


class Limits(Struct, frozen=True):
    """What one process gives to downloads."""

    threads: int = 8  # that read, decompress and verify, for all downloads together
    ahead_bytes: int = 2 << 20  # made ahead for each download, at least one chunk
    stall: float = 60.0  # seconds that a client has for reading 1 MiB


class End(Enum):
    """How sending ended."""

    WHOLE = "whole"
    STALLED = "stalled"
    LEFT = "left"


class Body:
    """The pieces of one body, in order, some of them being made already."""

    def __init__(self, pieces: Iterator[Piece], threads: ThreadPoolExecutor, prefetch: int) -> None:
        self._pieces = pieces
        self._threads = threads
        self._ahead = prefetch
        self._coming: deque[asyncio.Future[bytes]] = deque()
        self._first: bytes | None = None

    async def prepare(self) -> None:
        """Make the first piece. Raises what the piece raises, and then nothing was sent yet."""
        self._first = await self._next()

    async def next(self) -> tuple[bytes, bool]:
        """The next piece, and whether there are more after it."""
        data, self._first = self._first, None
        if data is None:
            data = await self._next()
        return data, bool(self._coming)

    def close(self) -> None:
        """Make no more of it."""
        for future in self._coming:
            future.cancel()
        self._coming.clear()

    async def _next(self) -> bytes:
        self._fill()
        if not self._coming:
            return b""
        data = await self._coming.popleft()
        self._fill()
        return data

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._coming) < self._ahead and (piece := next(self._pieces, None)) is not None:
            future = loop.run_in_executor(self._threads, piece)
            future.add_done_callback(_hear)
            self._coming.append(future)


async def send_body(body: Body, receive: Receive, send: Send, stall: float, sent: Callable[[int], object]) -> End:
    """Send a body whose start was announced. `sent` hears of every piece. Raises what a piece raises.

    Whoever gets anything but `WHOLE`, or an exception, must not send anything more.
    """
    left = False

    async def watch(ending: asyncio.Timeout) -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        with suppress(RuntimeError):  # it ends already
            ending.reschedule(asyncio.get_running_loop().time())

    loop = asyncio.get_running_loop()
    watcher: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(None) as timeout:
            more = True
            while more:
                data, more = await body.next()
                if more and watcher is None:
                    watcher = asyncio.create_task(watch(timeout))
                for part, is_last in _parts(data):
                    if not left:
                        timeout.reschedule(loop.time() + stall)
                    await send({"type": "http.response.body", "body": part, "more_body": more or not is_last})
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
    """What is handed to the server at once, and whether it is the last: a slow client is to show that it reads."""
    if len(data) <= _SEND_BYTES:
        yield data, True
        return
    for at in range(0, len(data), _SEND_BYTES):
        yield data[at : at + _SEND_BYTES], at + _SEND_BYTES >= len(data)


def _hear(future: asyncio.Future[bytes]) -> None:
    """Nobody may be waiting for it any more; then its error is nobody's news."""
    if not future.cancelled():
        future.exception()
