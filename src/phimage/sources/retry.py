"""Retries with exponential backoff: progress resets the count of failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from phimage.sources.errors import SourceInterrupted

Result = TypeVar("Result")

Sleep = Callable[[float], object]
"""Waits so many seconds: `time.sleep`, or the `wait` of an event that cancels the work."""

PROGRESS_BYTES: Final = 1024 * 1024
"""New bytes that reset the count of failures."""


# docs/decisions.md#retries-differ-in-what-ends-them
class Retry(Struct, frozen=True):
    """Max attempts and the waits between them in seconds: 1, 2, 4, 8 ... A server may ask for longer ones, up to `max_wait`.

    With `needs_progress` a failure without progress is final.
    """

    tries: int = 8
    first: float = 1.0
    max_pause: float = 60.0
    max_wait: float = 300.0
    needs_progress: bool = False

    def wait(self, failures: int, after: float = 0.0) -> float:
        """Seconds to wait after `failures` in a row, when the server asked for `after`."""
        return max(min(self.first * 2.0 ** (failures - 1), self.max_pause), min(after, self.max_wait))


def with_retries(
    call: Callable[[], Result],
    retry: Retry,
    sleep: Sleep,
    received: Callable[[], int] = int,
    cancel: threading.Event | None = None,
) -> Result:
    """Call until it succeeds. `received` returns the number of bytes received so far.

    Raises SourceInterrupted after `tries` failures in a row without progress, and at any failure once `cancel` is set.
    """
    failures, begun = 0, received()
    best = begun
    while True:
        try:
            return call()
        except SourceInterrupted as error:
            offset = received()
            progressed = offset >= best + PROGRESS_BYTES
            failures = 1 if progressed else failures + 1
            best = max(best, offset)
            final = failures >= retry.tries or (retry.needs_progress and not progressed)
            if final or (cancel is not None and cancel.is_set()):
                raise retries_exhausted(error, failures, offset, best - begun) from None
            sleep(retry.wait(failures, error.after))


def retries_exhausted(last: SourceInterrupted, failures: int, offset: int, gained: int = 0) -> SourceInterrupted:
    """The error after `failures` in a row, the last of which is `last`. `gained` of the `offset` bytes are of this call."""
    message = f"{last.what}, {failures} times in a row" if failures > 1 else last.what
    remedy = f"{offset} bytes are kept: run the same again to go on" if offset else "try again later"
    return SourceInterrupted(
        last.where,
        message,
        remedy,
        reason=last.reason,
        status=last.status,
        offset=offset,
        after=last.after,
        gained=gained,
    )
