"""Trying again: a few times without progress, each wait longer than the one before."""

from __future__ import annotations

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
    """How often, and how long between, in seconds: 1, 2, 4, 8 ... A server may ask for longer waits, up to `longest`."""

    tries: int = 8
    first: float = 1.0
    most: float = 60.0
    longest: float = 300.0

    def wait(self, failures: int, after: float = 0.0) -> float:
        """Seconds to wait after so many failures, when the server asked for `after`."""
        return max(min(self.first * 2.0 ** (failures - 1), self.most), min(after, self.longest))


def persist(step: Callable[[], Result], retry: Retry, sleep: Sleep, came: Callable[[], int] = int) -> Result:
    """Do a step until it works. `came` tells how many bytes are here. Raises SourceBroken when it gives up."""
    failures, best = 0, came()
    while True:
        try:
            return step()
        except SourceBroken as broken:
            here = came()
            failures = 1 if here >= best + PROGRESS else failures + 1
            best = max(best, here)
            if failures >= retry.tries:
                raise _given_up(broken, failures, here) from None
            sleep(retry.wait(failures, broken.after))


def _given_up(broken: SourceBroken, failures: int, here: int) -> SourceBroken:
    told = f"{broken.what}, {failures} times in a row" if failures > 1 else broken.what
    remedy = f"{here} bytes are kept: run the same again to go on" if here else "try again later"
    return SourceBroken(broken.where, told, remedy, reason=broken.reason, status=broken.status, offset=here)
