"""Whether the database answers: a circuit breaker, so that nobody waits for a database that is known to be away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from phimage.errors import ServiceUnavailable

RETRY_SECONDS = 3.0
"""How long callers are refused after a failure, if nobody finds out sooner that the database is back.

Whoever watches the database says again that it is away well before.
"""


def no_answer(error: BaseException | None) -> str:
    """What callers are told of a driver's error: its kind, and nothing of addresses or values."""
    return f"the database did not answer: {type(error).__name__}"


class Circuit:
    """Open while the database is known to be away. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reason = ""
        self._until = 0.0

    @property
    def reason(self) -> str:
        """Why it is open; empty when it is not."""
        return self._reason

    @property
    def is_open(self) -> bool:
        """Whether callers are refused now."""
        return self._clock() < self._until

    def open(self, reason: str, *, for_good: bool = False) -> None:
        """Refuse callers for a while, or until this process ends."""
        if self._until != math.inf:
            self._reason, self._until = reason, math.inf if for_good else self._clock() + RETRY_SECONDS

    def close(self) -> None:
        """The database answers. Changes nothing when it was opened for good."""
        if self._until != math.inf:
            self._reason, self._until = "", 0.0

    def check(self) -> None:
        """Raises ServiceUnavailable, at once, while it is open."""
        if self.is_open:
            raise ServiceUnavailable(detail=self._reason)
