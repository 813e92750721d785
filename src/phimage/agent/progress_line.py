"""Progress for people: one line that changes on a terminal, a line every few seconds in a log, with rate and time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

LINE_SECONDS = 10.0
"""Interval of lines in a log."""

_REDRAW_SECONDS = 0.25
_RATE_SECONDS = 10.0
"""The rate is that of this time before now."""


class ProgressLine:
    """Shows the phases of work on bytes, one after the other."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._phase = ""
        self._shown_at = 0.0
        self._open = False
        self._complete = False
        self._samples: deque[tuple[float, int]] = deque()

    def show(self, phase: str, done: int, total: int) -> None:
        """Show that `done` of `total` bytes of a phase are done."""
        now = self._clock()
        if phase != self._phase:
            self.end()
            self._phase = phase
            self._complete = False
            self._samples.clear()
            self._shown_at = float("-inf")
        self._samples.append((now, done))
        while now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        complete = done >= total
        if complete and self._complete:
            return
        self._complete = complete
        if complete or now - self._shown_at >= (_REDRAW_SECONDS if self._is_terminal else LINE_SECONDS):
            self._shown_at = now
            self._print(_described(phase, done, total, self._rate()), complete)

    def end(self) -> None:
        """End the line that is shown."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _rate(self) -> float:
        """Bytes per second; 0 if it is not known yet."""
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_at - first_at) if last_at - first_at >= _REDRAW_SECONDS else 0.0

    def _print(self, text: str, complete: bool) -> None:
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._open = not complete
        else:
            self._stream.write(text)
        if complete or not self._is_terminal:
            self._stream.write("\n")
        self._stream.flush()


def _described(phase: str, done: int, total: int, rate: float) -> str:
    share = 100 * done // total if total else 100
    text = f"{phase:<10} {share:3d} % of {_size(total)}"
    if rate and done < total:
        left = int((total - done) / rate)
        text += f", {_size(int(rate))}/s, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
    return text


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
