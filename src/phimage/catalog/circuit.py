"""A circuit breaker: while the database is known to be away, calls fail at once instead of waiting for a timeout."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from phimage.errors import ServiceUnavailable

RETRY_SECONDS = 3.0
"""Seconds that the breaker stays open after a failure, unless a probe succeeds. The periodic probe reopens it earlier."""


def no_answer(error: BaseException | None) -> str:
    """A driver's error as a detail for callers: its class only, without addresses or values."""
    return f"the database did not answer: {type(error).__name__}"


# docs/decisions.md#one-poller-detects-an-outage-for-all
class Circuit:
    """Open while the database is known to be away. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reason = ""
        self._until = 0.0

    @property
    def reason(self) -> str:
        """Why it is open; empty while it is closed."""
        return self._reason

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._clock() < self._until

    def open(self, reason: str, *, for_good: bool = False) -> None:
        """Open it for RETRY_SECONDS, or until this process ends."""
        if self._until != math.inf:
            self._reason, self._until = reason, math.inf if for_good else self._clock() + RETRY_SECONDS

    def close(self) -> None:
        """Close it, unless it was opened for good."""
        if self._until != math.inf:
            self._reason, self._until = "", 0.0

    def check(self) -> None:
        """Raises ServiceUnavailable while it is open."""
        if self.is_open:
            raise ServiceUnavailable(detail=self._reason)
