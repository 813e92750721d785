"""A guard over objects that are in the store already, for writers that rely on them while a garbage collection may run.

With g = MIN_GRACE_SECONDS, or a longer grace that every collection of the store uses: a writer that relies on an object at time
u has seen or set its modification time to at least u - g/2. A manifest that needs the object must be registered, that is named
by the collection's `live`, before `register_before`. `gc.py` has the proof.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from phimage.chunks.errors import BadManifest, Lost
from phimage.chunks.gc_marker import gc_is_running
from phimage.chunks.layout import MIN_GRACE_SECONDS, ManifestDigest, chunk_name, manifest_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store, Stored

OLD_SECONDS = MIN_GRACE_SECONDS / 2
"""Objects older than this are refreshed."""

REPEAT_SECONDS = MIN_GRACE_SECONDS / 4
"""A guard older than this checks and refreshes all of its objects once more."""

# docs/decisions.md#ages-in-the-store-use-the-wall-clock
REGISTER_SECONDS = MIN_GRACE_SECONDS / 8
"""Checked objects stay at least this long; as much again is reserved for clocks that differ."""

RECENT_SECONDS = MIN_GRACE_SECONDS / 4
"""Another writer or a collection may still be working on objects put or refreshed less than this ago."""

_CONCURRENCY = 8


class GcGuard:
    """The objects that one writer relies on. Thread-safe."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        grace: float = MIN_GRACE_SECONDS,
    ) -> None:
        """`grace`: no collection of this store removes objects put or refreshed less than so many seconds ago.

        The constants above are for the min grace, and scale with it.
        """
        factor = grace / MIN_GRACE_SECONDS
        self._old, self._repeat, self._register = OLD_SECONDS * factor, REPEAT_SECONDS * factor, REGISTER_SECONDS * factor
        self._store = store
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._begun = now()
        self._recent: set[str] = set()

    def ensure(self, name: str) -> bool:
        """Rely on an object, if it is in the store. Returns whether it is."""
        stored = self._store.refresh(name, self._now() - self._old)
        return stored is not None and self._note(stored)

    def ensure_listed(self, stored: Stored) -> bool:
        """Like `ensure`, for an object of a listing made after this guard: a young one costs no call."""
        return self._note(stored) if stored.modified >= self._now() - self._old else self.ensure(stored.name)

    def _note(self, stored: Stored) -> bool:
        if stored.modified > self._now() - RECENT_SECONDS:
            with self._lock:
                self._recent.add(stored.name)
        return True

    def confirm(self, names: Callable[[], Iterable[str]]) -> float:
        """Check that all objects are in the store, durable, and stay until the returned time, or as long as they are live.

        `names` returns every object, put or relied on; it is called only when the work took long. Raises Lost.
        """
        finished_at = checked_at = self._now()
        if finished_at - self._begun > self._repeat:
            self._require(self.ensure, names())
            checked_at = self._now()
        recent, self._recent = self._recent, set()
        self._store.sync(recent)
        if recent and self._store.settle_seconds:
            if gc_is_running(self._store):
                self._sleep(max(0.0, checked_at + self._store.settle_seconds - self._now()))
            self._require(lambda name: self._store.find(name) is not None, recent)
        return finished_at + self._register

    def _require(self, present: Callable[[str], bool], names: Iterable[str]) -> None:
        known = list(names)
        for name, is_present in zip(known, prefetch(present, known, _CONCURRENCY), strict=True):
            if not is_present:
                raise Lost(name)


# docs/decisions.md#a-withdrawn-id-returns-as-the-same-image
def renew(
    store: Store, digest: ManifestDigest, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> tuple[Manifest, float]:
    """Check and refresh an image's objects, before an image that may no longer be live is registered again.

    Returns its manifest and the time before which it must be registered. Raises BadManifest if the manifest or a chunk is gone.
    """
    guard = GcGuard(store, now, sleep)
    own = manifest_name(digest)
    if not guard.ensure(own):
        raise BadManifest(digest, "it is not in the store")
    manifest = load_manifest(store, digest)
    chunks = {chunk_name(chunk) for _, chunk in manifest.stored()}
    for name in chunks:
        if not guard.ensure(name):
            raise BadManifest(digest, f"{name} is not in the store")
    try:
        return manifest, guard.confirm(lambda: [own, *chunks])
    except Lost as lost:
        raise BadManifest(digest, f"{lost.name} is not in the store") from lost
