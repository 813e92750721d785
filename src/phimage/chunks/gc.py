"""Garbage collection: removes what no live image needs, while others publish, read and delete.

Why nothing that is needed is removed. Let g = MIN_GRACE_SECONDS, G >= g the grace of this collection, t its `now`.

1. A writer puts chunks, then the manifest; then the caller registers the manifest's digest, and from then on `live` names it. A
   chunk that is in the store already is not put again, but refreshed when it is older than g/2 (`gc_guard`). When the writer
   finishes, at time f, it checks and refreshes everything once more if it has worked for longer than g/4. So at f, everything
   that the manifest needs, itself included, was put or refreshed later than f - 3g/4.
2. The caller registers the digest before `register_before` = f + g/8, or gets a new time with `renew`.
3. The collection reads t, then `live`, then lists, and removes only what was modified before t - G <= t - g and is not
   needed by what `live` named. Take an object that it removes, and an image that needs it. By 1, f - 3g/4 < t - g, that is
   t > f + g/4. The image was registered before f + g/8, and `live` was read after t: so `live` named it, unless it had been
   removed again, and then it is not needed. The g/8 between is for clocks that differ: up to 450 s between machines and store.
4. Checking the age of an object and removing it are one step in memory and in a folder. A writer that refreshes it concurrently
   either does so first, and it stays, or finds it removed, and puts it again. On S3 they are two requests, each for one object
   or for many, the second of which takes effect at most `settle_seconds` after the first. There a collection puts a marker
   (`gc_marker`). A writer that is about to finish checks again what it had found put or refreshed only recently, and waits for
   `settle_seconds` before if there is a marker; if something is gone, the writer fails (Lost) and the disk is written again.
   The marker also keeps a second collection away, which could remove, for the first one's reason, what was put again.
5. An image that was removed from `live` can be registered again only after `renew`, which is a writer in the sense of 1.
   `live` is read a second time before anything is removed, so that an image which was registered again in between is spared.
6. A clock that steps, forward or back, changes nothing in 1 to 3 where writer, store and collection have the same clock: ages
   before and after the step are measured with it. After a step forward everything looks older, so a writer refreshes it once
   more, or finds it gone and fails (Lost). Clocks that differ by more than 450 s need a larger grace; the default has room for
   hours.
7. If `live` cannot be read, or a live manifest is missing or damaged, nothing is removed: what it needs is unknown.
8. What `recently_live` names stays, too, as long as its manifest can be read: the bytes of images that were removed from
   `live` less than the grace ago. So a download that had begun ends, and the image can be registered again. It only adds to
   what stays, and 1 to 7 do not depend on it.

The same holds for a store with a longer g, if all of its writers and collections use that one: a place of backups has one.

Manifests are removed before their chunks, so that an interrupted collection leaves no manifest without its chunks. What is not
removed now, because it is young or the collection died, is removed by a later collection. Removing twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import Struct

from phimage.chunks.errors import BadManifest
from phimage.chunks.gc_marker import GcMarker
from phimage.chunks.layout import (
    CHUNKS,
    MANIFESTS,
    MIN_GRACE_SECONDS,
    ChunkDigest,
    ManifestDigest,
    digest_of_name,
)
from phimage.chunks.manifest import load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import MAX_DELETED, Store, Stored

GRACE_SECONDS = 24 * 3600.0
"""The default grace: an interrupted publication finds its chunks again for this long."""

LiveManifests = Callable[[], Iterable[ManifestDigest]]
"""Returns every manifest that must stay. Called more than once; each call returns the present state."""

Approve = Callable[["GcReport"], None]
"""Receives the planned removal. An exception keeps everything."""

ObjectKey = ManifestDigest | ChunkDigest
"""What identifies a manifest or a chunk: texts and bytes are never equal."""

_CONCURRENCY = 8
_BATCH = 1000


class GcReport(Struct, frozen=True):
    """The result of a collection; with `dry_run`, what it would have done."""

    objects: int  # chunks and manifests in the store before
    bytes: int  # their bytes
    live_manifests: int
    live_chunks: int
    removed_manifests: int
    removed_chunks: int
    removed_bytes: int
    young: int  # objects that nothing live needs, but that are within their grace, or were needed less than the grace ago
    leftovers: int  # unfinished objects of dead writers
    dry_run: bool

    @property
    def removed(self) -> int:
        """The number of removed chunks and manifests."""
        return self.removed_manifests + self.removed_chunks


class _Needed:
    """The objects that some images need."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.manifests: set[ManifestDigest] = set()
        self.chunks: set[ChunkDigest] = set()

    def add(self, live: Iterable[ManifestDigest]) -> None:
        """Add what images need. Raises BadManifest."""
        for digest in set(live) - self.manifests:
            self.chunks.update(chunk for _, chunk in load_manifest(self._store, digest).stored())
            self.manifests.add(digest)

    def add_readable(self, live: Iterable[ManifestDigest]) -> None:
        """Add what images need, except for missing or damaged manifests, whose images are unreadable."""
        for digest in live:
            with suppress(BadManifest):
                self.add([digest])

    def has(self, key: ObjectKey) -> bool:
        """Whether an object must stay."""
        return key in self.chunks or key in self.manifests


def _key(name: str) -> ObjectKey | None:
    """The digest of a chunk or a manifest, None for other objects, which always stay."""
    digest = digest_of_name(name)
    if digest is None:
        return None
    return ManifestDigest(digest) if name.startswith(f"{MANIFESTS}/") else ChunkDigest(bytes.fromhex(digest))


def collect_garbage(
    store: Store,
    live: LiveManifests,
    *,
    now: float,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    approve: Approve = lambda planned: None,
    sleep: Callable[[float], None] = time.sleep,
    recently_live: LiveManifests = tuple,
) -> GcReport:
    """Remove objects that no live image needs and that are older than the grace. Safe at any time; may be repeated.

    `recently_live` returns the manifests that were live less than the grace ago; what they need counts as young. The caller
    reads `now` from the clock before this call. `approve` is called before anything is removed. Raises BadManifest for a live
    image without a manifest, StoreFailure (`busy` on S3 while another collection runs), and ValueError for a grace shorter than
    writers rely on.
    """
    if grace_seconds < MIN_GRACE_SECONDS:
        raise ValueError(f"a grace of {grace_seconds:g} s is too short: writers rely on {MIN_GRACE_SECONDS:g} s")
    before = now - grace_seconds
    needed, kept = _Needed(store), _Needed(store)
    needed.add(live())
    kept.add_readable(recently_live())
    candidates: dict[str, list[tuple[ObjectKey, Stored]]] = {MANIFESTS: [], CHUNKS: []}
    objects = size = young = 0
    for folder, garbage in candidates.items():
        for stored in store.list(folder):
            objects, size = objects + 1, size + stored.size
            key = _key(stored.name)
            if key is None or needed.has(key):
                continue
            if stored.modified < before and not kept.has(key):
                garbage.append((key, stored))
            else:
                young += 1
    needed.add(live())
    kept.add_readable(recently_live())
    removed = {
        folder: [stored for key, stored in garbage if not (needed.has(key) or kept.has(key))]
        for folder, garbage in candidates.items()
    }

    def report(removed: dict[str, list[Stored]], leftovers: int) -> GcReport:
        return GcReport(
            objects=objects,
            bytes=size,
            live_manifests=len(needed.manifests),
            live_chunks=len(needed.chunks),
            removed_manifests=len(removed[MANIFESTS]),
            removed_chunks=len(removed[CHUNKS]),
            removed_bytes=sum(stored.size for garbage in removed.values() for stored in garbage),
            young=young,
            leftovers=leftovers,
            dry_run=dry_run,
        )

    if dry_run:
        return report(removed, 0)
    approve(report(removed, 0))
    if any(removed.values()):
        marker = GcMarker(store, now, sleep)
        marker.begin()
        removed = {folder: _remove(store, garbage, before, marker) for folder, garbage in removed.items()}
        marker.end()
    return report(removed, store.tidy(before))


def _remove(store: Store, garbage: list[Stored], before: float, marker: GcMarker) -> list[Stored]:
    """Remove objects and return the removed ones. Objects refreshed meanwhile stay."""
    removed = []
    # docs/decisions.md#old-objects-are-removed-in-batches
    concurrency = _CONCURRENCY if store.settle_seconds else 0  # requests take turns with their answers, a folder has one lock
    for first in range(0, len(garbage), _BATCH):
        marker.renew()
        batch = garbage[first : first + _BATCH]
        parts = [[stored.name for stored in batch[at : at + MAX_DELETED]] for at in range(0, len(batch), MAX_DELETED)]
        absent = {
            name for names in prefetch(lambda names: store.delete_old(names, before), parts, concurrency) for name in names
        }
        removed += [stored for stored in batch if stored.name in absent]
    return removed
