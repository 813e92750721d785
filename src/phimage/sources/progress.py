"""How far it is, how fast, and how long still."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

EVERY: Final = 0.25
"""Seconds between two reports."""

WINDOW: Final = 8.0
"""Seconds over which the rate is taken."""


class Progress(Struct, frozen=True):
    """Bytes done of a total, which may be unknown, and bytes a second, lately."""

    done: int
    total: int | None
    rate: float

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate; None when nobody knows."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


Tell = Callable[[Progress], None]
"""Is told four times a second, and at the end. What it raises ends the work; what is done until then is kept."""

Clock = Callable[[], float]
"""Seconds that only go forward: `time.monotonic`."""


class Meter:
    """Turns counts of bytes into reports."""

    def __init__(self, tell: Tell | None, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, done: int, total: int | None) -> None:
        """Report where it is, when a report is due. A place before the last one begins the rate anew."""
        if self._tell is None:
            return
        now = self._clock()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        if not self._seen:
            self._seen.append((now, done))
        elif now - self._seen[-1][0] >= EVERY:
            self._report(now, done, total, self._tell)

    def end(self, done: int, total: int | None) -> None:
        """Report where it is, due or not."""
        if self._tell is not None:
            self._report(self._clock(), done, total, self._tell)

    def _report(self, now: float, done: int, total: int | None, tell: Tell) -> None:
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        begun, before = self._seen[0]
        tell(Progress(done, total, (done - before) / (now - begun) if now > begun else 0.0))
