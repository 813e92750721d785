"""Progress of work on bytes: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

LINE_SECONDS: Final = 10.0
"""Interval of log lines in one phase."""


class Progress:
    """Successive phases of work on bytes, on standard error. A context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        """`quiet`: show nothing."""
        self._quiet = quiet
        self._bars = _bars() if sys.stderr.isatty() and not quiet else None
        self._phase = ""
        self._printed_at = 0.0

    def at(self, phase: str, done: int, total: int | None) -> None:
        """Report `done` bytes of a phase; `total` is None when it is unknown."""
        if self._quiet:
            return
        if self._bars is not None:
            if phase != self._phase:
                self._close_phase()
                self._bars.add_task(phase, total=total)
            self._bars.update(self._bars.task_ids[-1], completed=done, total=total)
        elif phase != self._phase or time.monotonic() - self._printed_at >= LINE_SECONDS:
            self._printed_at = time.monotonic()
            share = f" {100 * done // total} %" if total else f" {done >> 20} MiB" if done else ""
            print(f"{phase}{share}", file=sys.stderr)  # noqa: T201  progress is output
        self._phase = phase

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            if kind is None:
                self._close_phase()
            self._bars.stop()

    def _close_phase(self) -> None:
        """Complete the bar of the previous phase, or remove it if the phase had no bytes."""
        if self._bars is not None and self._bars.task_ids:
            last = self._bars.tasks[-1]
            if not (last.total or last.completed):
                self._bars.remove_task(last.id)
                return
            self._bars.update(last.id, completed=last.total or last.completed, total=last.total or last.completed)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
