"""What a publication tells while it goes on, and how it is stopped."""

from __future__ import annotations

import threading
from typing import Final, Protocol

FETCH: Final = "fetch"
UNPACK: Final = "unpack"
EXAMINE: Final = "examine"
CONVERT: Final = "convert"
STORE: Final = "store"
PHASES: Final = (FETCH, UNPACK, EXAMINE, CONVERT, STORE)
"""In their order; an upload is not fetched, a raw disk not converted. Names that programs see; they do not change."""


class JobProgress(Protocol):
    """Who has the job. Every call may raise JobLost or Interrupted, and then nothing more is to be done."""

    @property
    def cancel(self) -> threading.Event:
        """Set when the next call would raise JobLost or Interrupted: what blocks must end then."""
        ...

    def check(self) -> None:
        """Raises JobLost or Interrupted when the work is to end."""

    def at(self, phase: str, done: int = 0, total: int = 0) -> None:
        """So many bytes of a phase are done; `total` is 0 when it is not known. Called often."""

    def reserve(self, size: int) -> None:
        """The disk has so many bytes. Raises ImageRefused when its project's quota has no room for them."""
