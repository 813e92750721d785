"""The patience of commands: retries while a database or store is away or locked, with notices, up to a limit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from phimage.errors import Locked, Unreachable

Result = TypeVar("Result")

NOTICE_SECONDS = 2.0
LIMIT_SECONDS = 30.0
REPEAT_SECONDS = 10.0
"""Seconds between two notices of one wait."""
LOOK_SECONDS = 0.25
"""Seconds between two checks of attempts that do not return."""
FIRST_PAUSE = 0.1
MAX_PAUSE = 1.0


class NotNow(Exception):
    """Not an error: a failure that may pass. `locked`: another process holds the lock."""

    def __init__(self, reason: str, *, locked: bool = False) -> None:
        self.reason = reason
        self.locked = locked
        super().__init__(reason)


# docs/decisions.md#commands-wait-and-servers-refuse
class Patience:
    """Retries attempts with backoff until a limit, and announces the wait. Safe to use from several threads."""

    def __init__(
        self,
        announce: Callable[[str], object],
        limit: float = LIMIT_SECONDS,
        notice: float = NOTICE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.limit = limit
        self.notice = notice
        self._announce = announce
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._announced_at = -math.inf
        self._under_way: list[tuple[str, float]] = []
        self._watching = False

    def persist(self, what: str, attempt: Callable[[], Result]) -> Result:
        """The result of an attempt, which is retried while it raises NotNow.

        Raises Locked or Unreachable, with a remedy, once the limit has passed since the first attempt.
        """
        begun, pause = self._clock(), FIRST_PAUSE
        while True:
            try:
                with self._watched(what, begun):
                    return attempt()
            except NotNow as error:
                failure = error
            waited = self._clock() - begun
            if waited >= self.limit:
                raise self.given_up(what, failure) from failure
            self.announce(what, failure.reason, waited)
            self._sleep(min(pause, self.limit - waited))
            pause = min(2 * pause, MAX_PAUSE)

    def announce(self, what: str, reason: str, waited: float) -> None:
        """Announce a wait that is long enough, unless the last notice is recent."""
        with self._lock:
            now = self._clock()
            if waited < self.notice or now - self._announced_at < REPEAT_SECONDS:
                return
            self._announced_at = now
        self._announce(f"waiting for {what}: {reason}; giving up in {max(0.0, self.limit - waited):.0f} s")

    def given_up(self, what: str, failure: NotNow) -> Locked | Unreachable:
        """The error to raise at the limit."""
        text = f"gave up waiting for {what} after {self.limit:g} s: {failure.reason}"
        if failure.locked:
            return Locked(
                f"{text}; wait for the other process or end it, then run the same command again (--wait sets the limit)"
            )
        return Unreachable(
            f"{text}; check that it runs and can be reached, then run the same command again (--wait sets the limit)"
        )

    @contextmanager
    def _watched(self, what: str, begun: float) -> Iterator[None]:
        """Announce an attempt that does not return. One thread watches all attempts: most are shorter than a thread's start."""
        attempt = (what, begun)
        with self._lock:
            self._under_way.append(attempt)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(attempt)

    def _watch(self) -> None:
        while True:
            time.sleep(min(LOOK_SECONDS, self.notice))
            with self._lock:
                attempts = list(self._under_way)
                if not attempts:
                    self._watching = False
                    return
            for what, begun in attempts:
                self.announce(what, "no answer yet", self._clock() - begun)
