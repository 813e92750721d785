"""The marker of a running garbage collection, for stores where checking an object and removing it are two steps.

The marker is put before the first check and removed when the last removal can no longer take effect. So a writer that finds no
marker can rely on every object that is present: a collection that begins later sees it as young.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from phimage.chunks.errors import StoreFailure
from phimage.chunks.layout import MIN_GRACE_SECONDS, SWEEPS
from phimage.chunks.store import Store


class GcMarker:
    """The marker of one collection. Does nothing in stores that check and remove in one step."""

    def __init__(self, store: Store, now: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._now = now
        self._sleep = sleep
        self._name = f"{SWEEPS}/{secrets.token_hex(16)}"

    def begin(self) -> None:
        """Put the marker. Raises StoreFailure (`busy`) while another collection runs, or if one died less than an hour ago."""
        if not self._store.settle_seconds:
            return
        self.renew()
        for other in self._store.list(SWEEPS):
            if other.name == self._name:
                continue
            if other.modified > self._now - MIN_GRACE_SECONDS:
                self._store.delete(self._name)
                raise StoreFailure("collect", other.name, "busy", "another garbage collection is running; try again later")
            self._store.delete(other.name)

    def renew(self) -> None:
        """Put the marker again, as a sign of life."""
        if self._store.settle_seconds:
            self._store.put(self._name, b"")

    def end(self) -> None:
        """Wait until no removal can take effect any more, and remove the marker. Not called after a failure."""
        if self._store.settle_seconds:
            self._sleep(self._store.settle_seconds)
            self._store.delete(self._name)


def gc_is_running(store: Store) -> bool:
    """Whether a collection may be removing objects now."""
    return bool(store.settle_seconds) and next(store.list(SWEEPS), None) is not None
