"""The body of a request: read within limits of bytes and time, or drained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from io import BytesIO
from typing import Any

from msgspec import Struct

from phimage.http.asgi import Message, Receive
from phimage.http.min_rate import Lag, MinRate

DRAINED_AT_ONCE = 256 << 10
"""Bytes of a refused body after which the rest is read with pauses: many such bodies would keep the event loop busy."""
DRAIN_PAUSE_SECONDS = 0.02


class BodyLimits(Struct, frozen=True):
    """How long a body may take, in seconds."""

    stall: float | None = None  # without a byte; a pause of half of it is always allowed
    total: float | None = None
    drain: float | None = None  # for a body that is read only to keep the connection
    min_rate: MinRate = MinRate(0)  # beside `stall`


class BodyTooLong(Exception):
    """Not an error of phimage: the body is larger than its limit. `body` can be drained."""

    def __init__(self, body: RequestBody) -> None:
        self.body = body
        super().__init__()


class BodyTooSlow(Exception):
    """Not an error of phimage: the body did not arrive in time."""


class BodiesTooLarge(Exception):
    """Not an error of phimage: the bodies in memory take more than their budget."""


class ClientGone(Exception):
    """Not an error of phimage: the client closed the connection and reads no response."""


class BodyBudget:
    """The bytes of bodies that one process may hold in memory. `used` are those that it holds."""

    def __init__(self, max_bytes: float = float("inf")) -> None:
        self.max_bytes = max_bytes
        self.used = 0


class RequestBody:
    """A body that is still to be received. With a budget, its bytes count until `release`."""

    def __init__(
        self,
        receive: Receive,
        limits: BodyLimits = BodyLimits(),  # noqa: B008 - it is frozen
        budget: BodyBudget | None = None,
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._budget = budget or BodyBudget()
        self._held = 0
        self._ended = False

    def release(self) -> None:
        """Return the bytes to the budget, when the body is no longer in memory."""
        self._budget.used -= self._held
        self._held = 0

    def read(self, max_size: int, *, has_arrived: bool = False) -> Coroutine[Any, Any, bytes]:
        """The whole body; with `has_arrived`, the server has it, and nothing is waited for. Holds at most `max_size` bytes.

        Raises BodyTooLong, BodyTooSlow, BodiesTooLarge and ClientGone.
        """
        if has_arrived or self._limits.stall is None:
            return self._read(max_size, _nothing)
        return self._read_in_time(max_size, self._limits.stall, self._limits.total or float("inf"))

    async def drain(self, max_size: int) -> bool:
        """Read and discard the rest, if it is not more than `max_size` bytes. Returns whether the connection is usable.

        Raises ClientGone.
        """
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain):
                while not self._ended and size <= max_size:
                    size += len(self._piece(await self._receive()))
                    if size > DRAINED_AT_ONCE:
                        await asyncio.sleep(DRAIN_PAUSE_SECONDS)
        return self._ended

    async def _read_in_time(self, max_size: int, stall: float, total: float) -> bytes:
        now = asyncio.get_running_loop().time
        counted, lag = now(), Lag(self._limits.min_rate)
        ends = counted + total
        try:
            async with asyncio.timeout(min(stall, total)) as timeout:

                def extend(size: int) -> None:
                    nonlocal counted
                    time = now()
                    lag.add(time - counted, size)
                    counted = time
                    if lag.too_long:
                        raise BodyTooSlow
                    # Not at each piece: a body has a thousand of them.
                    if (timeout.when() or 0.0) - time < stall / 2:
                        timeout.reschedule(min(time + stall, ends))

                return await self._read(max_size, extend)
        except TimeoutError:
            raise BodyTooSlow from None

    async def _read(self, max_size: int, at_each: Callable[[int], object]) -> bytes:
        piece = self._piece(await self._receive())
        self._hold(piece, max_size)
        if self._has_ended():
            return piece
        content = BytesIO()  # returns its bytes without a second copy
        content.write(piece)
        while not self._has_ended():
            at_each(len(piece))
            piece = self._piece(await self._receive())
            self._hold(piece, max_size)
            content.write(piece)
        return content.getvalue()

    def _hold(self, piece: bytes, max_size: int) -> None:
        if self._held + len(piece) > max_size:
            raise BodyTooLong(self)
        self._held += len(piece)
        self._budget.used += len(piece)
        if self._budget.used > self._budget.max_bytes:
            raise BodiesTooLarge

    def _piece(self, message: Message) -> bytes:
        if message["type"] != "http.request":
            raise ClientGone
        self._ended = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    def _has_ended(self) -> bool:
        return self._ended


def _nothing(_: int) -> None:
    pass
