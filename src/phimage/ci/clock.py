"""What a world has in place of time and chance: a clock that stands still, and ids that are the same in every run."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import shake_256

from phimage.ci.values import BadControl, shown
from phimage.http.asgi import uuid_of

_LATEST = 32_503_680_000
"""The year 3000: later times do not fit into every client."""


class WorldClock:
    """Unix seconds. Safe to use from several threads: each change replaces one value."""

    def __init__(self, at: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: tuple[float, float | None] = (at, None)  # a time, and when it was that time; None while it is frozen

    def __call__(self) -> float:
        """The time now."""
        at, since = self._since
        return at if since is None else at + self._monotonic() - since

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself."""
        return self._since[1] is not None

    def advance(self, seconds: float) -> None:
        """Move it on. It never goes back: what was stored would be of the future."""
        self._move(self() + seconds)

    def set(self, at: float) -> None:
        """Move it to a later time. Raises BadControl."""
        if at < self():
            raise BadControl("the clock of a world only goes on", f"it is {shown(self())} there: reset the world to go back")
        self._move(at)

    def _move(self, at: float) -> None:
        if at > _LATEST:
            raise BadControl("the clock of a world ends in the year 3000", "advance it by less")
        self._since = (at, None if self._since[1] is None else self._monotonic())

    def run(self, running: bool) -> None:
        """Let it go on by itself, or freeze it."""
        self._since = (self(), self._monotonic() if running else None)


# docs/decisions.md#ids-have-a-sequence-for-each-length
class Draws:
    """A source of random bytes, with a sequence for each length and purpose. Safe to use from several threads.

    The length of a draw is that of a kind of id: so a new key does not change the ids of the images after it.
    """

    def __init__(self, seed: str, purpose: str = "") -> None:
        self._seed = seed
        self._purpose = purpose
        self._counters: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, length: int) -> bytes:
        """The next bytes of the sequence of this length."""
        with self._lock:
            self._counters[length] += 1
            number = self._counters[length]
        return shake_256(f"phimage {self._seed} {self._purpose} {length} {number}".encode()).digest(length)

    def uuids(self) -> Iterator[str]:
        """UUIDs without end, for request ids."""
        while True:
            yield uuid_of(self(16).hex())
