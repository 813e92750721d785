"""An event loop whose time passes by itself: where nothing is left to do, it is at once the moment of the next timer.

What a test says of seconds is then exact, on a machine of any speed, and takes none of them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualClock(selectors.DefaultSelector):
    """Waits for files and threads as ever, but not for timers. `now` is the time of its loop."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `BaseSelector`."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with such a clock."""

    def __init__(self) -> None:
        self._virtual = VirtualClock()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Its own time, in seconds."""
        return self._virtual.now

    def pass_time(self, seconds: float) -> None:
        """Time passes that no timer stands for, as while something computes."""
        self._virtual.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
