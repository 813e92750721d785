"""The progress of a publication: its phases, and how it is reported and stopped."""

from __future__ import annotations

import threading
from typing import Final, Protocol

FETCH: Final = "fetch"
UNPACK: Final = "unpack"
EXAMINE: Final = "examine"
CONVERT: Final = "convert"
STORE: Final = "store"
PHASES: Final = (FETCH, UNPACK, EXAMINE, CONVERT, STORE)
"""The phases in order. An upload is not fetched, a raw disk not converted. Programs see these names, so they do not change."""


class JobProgress(Protocol):
    """Reports the progress of a job. Any call may raise JobLost or Interrupted, and then the work must end."""

    @property
    def cancel(self) -> threading.Event:
        """Set when the next call would raise JobLost or Interrupted, so that blocking work ends."""
        ...

    def check(self) -> None:
        """Raises JobLost or Interrupted when the work must end."""

    def update(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Report the bytes done in a phase; `total` is 0 when unknown. Called often."""

    def reserve(self, size: int) -> None:
        """Reserve quota for a disk of `size` bytes. Raises ImageRefused when the project's quota does not suffice."""
