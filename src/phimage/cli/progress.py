"""Showing how far something is: a bar for a person who is looking, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

LINE_SECONDS: Final = 10.0
"""How often a log hears of a phase that goes on."""


class Progress:
    """Phases of work on bytes, one after the other, on standard error. A context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        """`quiet`: show nothing."""
        self._quiet = quiet
        self._bars = _bars() if sys.stderr.isatty() and not quiet else None
        self._phase = ""
        self._told_at = 0.0

    def at(self, phase: str, done: int, total: int | None) -> None:
        """So many bytes of a phase are done; `total` is None when nobody knows."""
        if self._quiet:
            return
        if self._bars is not None:
            if phase != self._phase:
                self._close_phase()
                self._bars.add_task(phase, total=total)
            self._bars.update(self._bars.task_ids[-1], completed=done, total=total)
        elif phase != self._phase or time.monotonic() - self._told_at >= LINE_SECONDS:
            self._told_at = time.monotonic()
            share = f" {100 * done // total} %" if total else f" {done >> 20} MiB" if done else ""
            print(f"{phase}{share}", file=sys.stderr)  # noqa: T201  what is told while working
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
        """The phase before has come to its end, whatever was heard of it last."""
        if self._bars is not None and self._bars.task_ids:
            last = self._bars.tasks[-1]
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
