"""A collection that is under way makes itself known, in stores where looking at an object and removing it are two steps.

The announcement is put before the first look and removed when the last removal can no longer take effect. So a writer that
finds no announcement knows: what is there now stays, for a collection that begins later sees it young.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from phimage.chunks.errors import StoreFailure
from phimage.chunks.layout import MIN_GRACE_SECONDS, SWEEPS
from phimage.chunks.store import Store


class GcMarker:
    """One collection's own. Does nothing in stores that look and remove in one step."""

    def __init__(self, store: Store, now: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._now = now
        self._sleep = sleep
        self._name = f"{SWEEPS}/{secrets.token_hex(16)}"

    def begin(self) -> None:
        """Raises StoreFailure (`busy`) while another collection is under way, or died less than an hour ago."""
        if not self._store.settle_seconds:
            return
        self.repeat()
        for other in self._store.list(SWEEPS):
            if other.name == self._name:
                continue
            if other.modified > self._now - MIN_GRACE_SECONDS:
                self._store.delete(self._name)
                raise StoreFailure("collect", other.name, "busy", "another collection is under way")
            self._store.delete(other.name)

    def repeat(self) -> None:
        """Still at it."""
        if self._store.settle_seconds:
            self._store.put(self._name, b"")

    def end(self) -> None:
        """All removals were answered; wait until none can take effect any more. Not called after a failure."""
        if self._store.settle_seconds:
            self._sleep(self._store.settle_seconds)
            self._store.delete(self._name)


def gc_is_running(store: Store) -> bool:
    """Whether a collection may be removing something now."""
    return bool(store.settle_seconds) and next(store.list(SWEEPS), None) is not None
