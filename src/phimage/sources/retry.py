"""Trying again: a few times without progress, each wait longer than the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct

from phimage.sources.errors import SourceBroken

Result = TypeVar("Result")

Sleep = Callable[[float], object]
"""Waits so many seconds: `time.sleep`, or the `wait` of an event that ends the work."""

PROGRESS: Final = 1024 * 1024
"""So many new bytes make earlier failures forgotten."""


class Retry(Struct, frozen=True):
    """How often, and how long between, in seconds: 1, 2, 4, 8 ... A server may ask for longer waits, up to `max_wait`.

    With `needs_progress` a failure without progress is the last one.
    """

    tries: int = 8
    first: float = 1.0
    max_pause: float = 60.0
    max_wait: float = 300.0
    needs_progress: bool = False

    def wait(self, failures: int, after: float = 0.0) -> float:
        """Seconds to wait after so many failures, when the server asked for `after`."""
        return max(min(self.first * 2.0 ** (failures - 1), self.max_pause), min(after, self.max_wait))


def persist(
    step: Callable[[], Result],
    retry: Retry,
    sleep: Sleep,
    came: Callable[[], int] = int,
    cancel: threading.Event | None = None,
) -> Result:
    """Do a step until it works. `came` tells how many bytes are here. Raises SourceBroken when it gives up.

    It gives up after `tries` failures in a row without progress, and at any failure once `cancel` is set.
    """
    failures, begun = 0, came()
    best = begun
    while True:
        try:
            return step()
        except SourceBroken as broken:
            here = came()
            progressed = here >= best + PROGRESS
            failures = 1 if progressed else failures + 1
            best = max(best, here)
            hopeless = failures >= retry.tries or (retry.needs_progress and not progressed)
            if hopeless or (cancel is not None and cancel.is_set()):
                raise given_up(broken, failures, here, best - begun) from None
            sleep(retry.wait(failures, broken.after))


def given_up(broken: SourceBroken, failures: int, here: int, gained: int = 0) -> SourceBroken:
    """The error after so many failures in a row, the last of which was `broken`."""
    told = f"{broken.what}, {failures} times in a row" if failures > 1 else broken.what
    remedy = f"{here} bytes are kept: run the same again to go on" if here else "try again later"
    return SourceBroken(
        broken.where,
        told,
        remedy,
        reason=broken.reason,
        status=broken.status,
        offset=here,
        after=broken.after,
        gained=gained,
    )
