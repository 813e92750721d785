"""Rendering: others are answered while a page is rendered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from phimage.console.address import Address
from phimage.console.rendering import SLICE_SECONDS, render
from phimage.console.texts import texts_of

FRAME: dict[str, Any] = {
    "t": texts_of("en"),
    "theme": "dark",
    "other_language": "zh",
    "address": Address("/console/", {}),
    "session": None,
    "age": None,
    "done": "",
    "revision": None,
}


def turns_of_others(clock: Callable[[], float]) -> int:
    """How often another task runs while a page is rendered."""

    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        page = await render("again.html", FRAME, clock)
        task.cancel()
        assert page.startswith(b"<!doctype html>")
        assert page.rstrip().endswith(b"</html>")
        return turns

    return asyncio.run(main())


def test_others_are_answered_while_a_page_takes_long() -> None:
    moments = count()
    assert turns_of_others(lambda: next(moments) * SLICE_SECONDS) > 0


def test_a_page_that_takes_a_moment_is_rendered_at_once() -> None:
    assert turns_of_others(lambda: 0.0) == 0
