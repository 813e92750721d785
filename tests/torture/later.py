"""`phimage` with a clock that is ahead, for S3 stamps objects itself: `python -m tests.torture.later SECONDS store gc`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def _ahead(now: Callable[[], float], seconds: float) -> Callable[[], float]:
    return lambda: now() + seconds


if __name__ == "__main__":
    time.time = _ahead(time.time, float(sys.argv.pop(1)))
    from phimage.cli import entry_point  # which takes the clock as it is imported

    entry_point()
