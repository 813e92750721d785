"""Request bodies: whole, too long, too slow, drained, or cut by a client that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from phimage.http.asgi import Message
from phimage.http.body import BodiesTooLarge, BodyBudget, BodyLimits, BodyTooLong, BodyTooSlow, ClientGone, RequestBody
from phimage.http.min_rate import MinRate

UNLIMITED = BodyLimits()
IN_TIME = BodyLimits(stall=60, total=60, drain=60)


def receiving(*pieces: bytes, ends: bool = True) -> Callable[[], Awaitable[Message]]:
    """A client that sends pieces, and then ends the body or closes the connection."""
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = not ends

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


@pytest.mark.parametrize("limits", [UNLIMITED, IN_TIME])
@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"ab", b"c"), (b"", b"a", b"", b"bc")])
def test_a_body_is_read_whole(limits: BodyLimits, pieces: tuple[bytes, ...]) -> None:
    assert asyncio.run(RequestBody(receiving(*pieces), limits).read(3)) == b"".join(pieces)


@pytest.mark.parametrize("limits", [UNLIMITED, IN_TIME])
@pytest.mark.parametrize("pieces", [(b"abcd",), (b"ab", b"cd"), (b"ab", b"cd", b"ef")])
def test_a_body_that_is_too_long_can_be_drained(limits: BodyLimits, pieces: tuple[bytes, ...]) -> None:
    async def main() -> bool:
        body = RequestBody(receiving(*pieces), limits)
        with pytest.raises(BodyTooLong):
            await body.read(3)
        return await body.drain(100)

    assert asyncio.run(main())


def test_draining_ends_at_its_limit() -> None:
    assert not asyncio.run(RequestBody(receiving(*[b"abc"] * 9)).drain(10))


@pytest.mark.parametrize("limits", [UNLIMITED, IN_TIME])
def test_a_client_that_is_gone_ends_the_reading(limits: BodyLimits) -> None:
    with pytest.raises(ClientGone):
        asyncio.run(RequestBody(receiving(b"a", ends=False), limits).read(9))
    with pytest.raises(ClientGone):
        asyncio.run(RequestBody(receiving(b"a", ends=False), limits).drain(9))


@pytest.mark.parametrize("limits", [BodyLimits(stall=0.01), BodyLimits(stall=0.02, total=0.01, drain=0.01)])
def test_a_body_that_stalls_is_too_slow(limits: BodyLimits) -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(BodyTooSlow):
        asyncio.run(RequestBody(never, limits).read(9))


def test_a_body_that_trickles_is_too_slow_in_total() -> None:
    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(BodyTooSlow):
        asyncio.run(RequestBody(trickle, BodyLimits(stall=0.03, total=0.1)).read(1 << 20))


def test_a_body_below_the_minimum_rate_is_too_slow_although_it_never_stalls() -> None:
    pieces = 0

    async def trickle() -> Message:
        nonlocal pieces
        pieces += 1
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(BodyTooSlow):
        asyncio.run(RequestBody(trickle, BodyLimits(stall=60, min_rate=MinRate(1000.0, 0.2))).read(1 << 20))
    assert pieces <= 11


@pytest.mark.parametrize("min_rate", [MinRate(0), MinRate(1.0, 600.0)], ids=["without a minimum", "above the minimum"])
def test_a_slow_body_is_read_whole(min_rate: MinRate) -> None:
    left = [b"x"] * 10

    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    assert asyncio.run(RequestBody(trickle, BodyLimits(stall=60, min_rate=min_rate)).read(100)) == b"x" * 10


@pytest.mark.parametrize("limits", [UNLIMITED, IN_TIME])
def test_bodies_share_a_budget_that_is_whole_again_when_they_are_released(limits: BodyLimits) -> None:
    async def main() -> None:
        budget = BodyBudget(10)
        one = RequestBody(receiving(b"abcd", b"ef"), limits, budget)
        assert await one.read(100) == b"abcdef"
        other = RequestBody(receiving(b"abcd", b"e"), limits, budget)
        with pytest.raises(BodiesTooLarge):
            await other.read(100)
        other.release()
        assert budget.used == 6
        one.release()
        one.release()
        assert budget.used == 0
        long = RequestBody(receiving(b"abcde", b"f"), limits, budget)
        with pytest.raises(BodyTooLong):
            await long.read(3)
        long.release()
        assert budget.used == 0

    asyncio.run(main())
