"""Progress of a transfer: bytes done, rate, time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

REPORT_SECONDS: Final = 0.25
"""Seconds between two reports."""

WINDOW_SECONDS: Final = 8.0
"""The window of the rate's average, in seconds."""


class TransferProgress(Struct, frozen=True):
    """Bytes done, total bytes (None when unknown), and recent bytes per second."""

    done: int
    total: int | None
    rate: float

    @property
    def left(self) -> float | None:
        """Estimated seconds left; None when unknown."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


ProgressCallback = Callable[[TransferProgress], None]
"""Called four times a second, and at the end. An exception ends the transfer and keeps what is done."""

Clock = Callable[[], float]
"""A monotonic clock in seconds: `time.monotonic`."""


class Meter:
    """Turns byte counts into progress reports."""

    def __init__(self, on_progress: ProgressCallback | None, clock: Clock) -> None:
        self._on_progress = on_progress
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, done: int, total: int | None) -> None:
        """Report if a report is due. A smaller count than before restarts the rate."""
        if self._on_progress is None:
            return
        now = self._clock()
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        if not self._samples:
            self._samples.append((now, done))
        elif now - self._samples[-1][0] >= REPORT_SECONDS:
            self._report(now, done, total, self._on_progress)

    def finish(self, done: int, total: int | None) -> None:
        """Report unconditionally, at the end."""
        if self._on_progress is not None:
            self._report(self._clock(), done, total, self._on_progress)

    def _report(self, now: float, done: int, total: int | None, on_progress: ProgressCallback) -> None:
        self._samples.append((now, done))
        while now - self._samples[0][0] > WINDOW_SECONDS and len(self._samples) > 2:
            self._samples.popleft()
        begun, before = self._samples[0]
        on_progress(TransferProgress(done, total, (done - before) / (now - begun) if now > begun else 0.0))
