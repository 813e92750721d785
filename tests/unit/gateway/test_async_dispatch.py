"""Who runs when on the event loop: requests with large bodies take turns, and small ones run between them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from phimage.gateway.async_dispatch import LARGE_BODY, AsyncDispatcher
from phimage.gateway.dispatch import Attempt, RawRequest
from phimage.gateway.envelope import RawResponse


class Recorder:
    """A dispatcher that only notes in which order requests reach it."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def answer(self, raw: RawRequest, attempt: Attempt) -> RawResponse:
        self.order.append(raw.request_id)
        return RawResponse(b"{}", 0, None)


def request(name: str, size: int) -> RawRequest:
    return RawRequest("POST", "/", "", "", b"x" * size, "192.0.2.1", name)


@pytest.mark.parametrize(("size", "first"), [(LARGE_BODY, "large 0"), (LARGE_BODY + 1, "small")])
def test_a_small_request_does_not_wait_for_all_large_ones_that_came_before_it(size: int, first: str) -> None:
    recorder = Recorder()

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            dispatcher: AsyncDispatcher[Any] = AsyncDispatcher(cast("Any", recorder), threads, lambda: False)
            requests = [*(request(f"large {number}", size) for number in range(5)), request("small", 10)]
            await asyncio.gather(*(dispatcher.answer(each, Attempt()) for each in requests))

    asyncio.run(main())
    assert recorder.order[0] == first
    assert [name for name in recorder.order if name != "small"] == [f"large {number}" for number in range(5)]
