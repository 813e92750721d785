"""The body of a request: read within limits of bytes and time, or forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from io import BytesIO
from typing import Any

from msgspec import Struct

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Limits(Struct, frozen=True):
    """What one process gives to uploads; times in seconds."""

    at_once: int = 3  # parts that are in memory; one takes up to four times its size for a moment
    wait: float = 10.0  # for a place among them
    stall: float = 30.0  # without a byte of a body; a pause of half of it is always suffered
    body: float = 900.0  # for a whole body: 16 MiB at 150 kbit/s
    forget: float = 10.0  # for a body that is read only to keep the connection


class TooLong(Exception):
    """Not an error of ours: the body is larger than its limit."""


class TooSlow(Exception):
    """Not an error of ours: the body did not come in time."""


class Gone(Exception):
    """Not an error of ours: the client went away, and nobody waits for an answer."""


class Body:
    """A body that is still to come."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._ended = False

    async def read(self, max_size: int) -> bytes:
        """All of it. Raises TooLong, TooSlow and Gone. No more than `most` bytes are kept in memory."""
        found = BytesIO()  # hands out its bytes without a second copy of them
        now = asyncio.get_running_loop().time
        ends, stall = now() + self._limits.body, self._limits.stall
        try:
            async with asyncio.timeout(stall) as watch:
                while not self._ended:
                    piece = await self._next()
                    if found.tell() + len(piece) > max_size:
                        raise TooLong
                    found.write(piece)
                    if (watch.when() or 0.0) - now() < stall / 2:  # seldom: a body comes in a thousand pieces
                        watch.reschedule(min(now() + stall, ends))
        except TimeoutError:
            raise TooSlow from None
        return found.getvalue()

    async def forget(self, max_size: int) -> bool:
        """Read the rest, if it is not more than `most` bytes, so that the connection can be used again. Whether it can."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.forget):
                while not self._ended and size <= max_size:
                    size += len(await self._next())
        return self._ended

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            raise Gone
        self._ended = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece
