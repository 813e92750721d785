"""Relying on objects that are already there, while a collection may run.

With g = MIN_GRACE_SECONDS, or a longer grace that every collection of the store keeps: whoever relies on an object at time u
has seen or made its modification time at least u - g/2, and `register_before` says until when what relies on it must be
registered (named by `collect`'s `live`). `collect` has the proof.
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
"""What is found older than this is refreshed."""

REPEAT_SECONDS = MIN_GRACE_SECONDS / 4
"""Who has relied on objects for longer than this looks after all of them once more."""

REGISTER_SECONDS = MIN_GRACE_SECONDS / 8
"""What was looked after stays at least this long; as much again is left for clocks that differ."""


RECENT_SECONDS = MIN_GRACE_SECONDS / 4
"""What was put or refreshed less than this ago may still be in somebody's hands: another writer's, or a collection's."""

_AT_ONCE = 8


class GcGuard:
    """Objects of a store that are relied upon. Safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        grace: float = MIN_GRACE_SECONDS,
    ) -> None:
        """`grace`: no collection of this store removes what was put or refreshed less than so many seconds ago. The times above
        are those of the least grace, and grow with it."""
        longer = grace / MIN_GRACE_SECONDS
        self._old, self._repeat, self._register = OLD_SECONDS * longer, REPEAT_SECONDS * longer, REGISTER_SECONDS * longer
        self._store = store
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._begun = now()
        self._recent: set[str] = set()

    def ensure(self, name: str) -> bool:
        """Rely on an object if it is there; False if it is not."""
        found = self._store.refresh(name, self._now() - self._old)
        return found is not None and self._note(found)

    def ensure_listed(self, found: Stored) -> bool:
        """The same for an object of a listing that was made after this hold: a young one costs no call."""
        return self._note(found) if found.modified >= self._now() - self._old else self.ensure(found.name)

    def _note(self, found: Stored) -> bool:
        if found.modified > self._now() - RECENT_SECONDS:
            with self._lock:
                self._recent.add(found.name)
        return True

    def confirm(self, names: Callable[[], Iterable[str]]) -> float:
        """All of it is there, durable, and stays: until the time that is returned, and as long as it is live. Raises Lost.

        `names` gives everything relied upon, put or found; it is only asked when the work took long.
        """
        finished_at = asked_at = self._now()
        if finished_at - self._begun > self._repeat:
            self._require(self.ensure, names())
            asked_at = self._now()
        recent, self._recent = self._recent, set()
        self._store.sync(recent)
        if recent and self._store.settle_seconds:
            if gc_is_running(self._store):
                self._sleep(max(0.0, asked_at + self._store.settle_seconds - self._now()))
            self._require(lambda name: self._store.find(name) is not None, recent)
        return finished_at + self._register

    def _require(self, there: Callable[[str], bool], names: Iterable[str]) -> None:
        known = list(names)
        for name, found in zip(known, prefetch(there, known, _AT_ONCE), strict=True):
            if not found:
                raise Lost(name)


def renew(
    store: Store, digest: ManifestDigest, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> tuple[Manifest, float]:
    """Rely on an image that is in the store but perhaps no longer live, before it is registered again.

    Returns its manifest and the time before which it must be registered. Raises BadManifest if it, or any chunk of it,
    is gone.
    """
    hold = GcGuard(store, now, sleep)
    own = manifest_name(digest)
    if not hold.ensure(own):
        raise BadManifest(digest, "it is not in the store")
    manifest = load_manifest(store, digest)
    chunks = {chunk_name(chunk) for _, chunk in manifest.stored()}
    for name in chunks:
        if not hold.ensure(name):
            raise BadManifest(digest, f"{name} is not in the store")
    try:
        return manifest, hold.confirm(lambda: [own, *chunks])
    except Lost as lost:
        raise BadManifest(digest, f"{lost.name} is not in the store") from lost
