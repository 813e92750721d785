"""Collection: removing what no live image needs, while others publish, read and delete.

Why nothing that is needed is removed. Let g = MIN_GRACE_SECONDS, G >= g the grace of this collection, t its `now`.

1. A writer puts chunks, then the manifest, then the caller registers the manifest's digest: from then on `live` names it. A
   chunk that is there already is not put again, but refreshed when it is older than g/2 (`hold`). When the writer finishes, at
   time f, it looks after everything once more if it has been at work for longer than g/4. So at f, everything that the
   manifest needs, itself included, was put or refreshed later than f - 3g/4.
2. The caller registers the digest before `register_before` = f + g/8, or asks for another time with `renew`.
3. The collection reads t, then `live`, then lists, and removes only what was modified before t - G <= t - g and is not
   needed by what `live` named. Take an object that it removes, and an image that needs it. By 1, f - 3g/4 < t - g, that is
   t > f + g/4.
   The image was registered before f + g/8, and `live` was read after t: so `live` named it, unless it had been taken out again,
   and then it is not needed. The g/8 between is for clocks that differ: up to 450 s between machines and store.
4. Looking at the age of an object and removing it are one step in memory and in a folder, so a writer that refreshes it in
   between either comes first, and it stays, or finds it gone, and puts it again. On S3 they are two requests, the second of
   which takes effect at most `settle_seconds` after the first. There a collection announces itself (`announce`). A writer
   that is about to finish looks again for what it had found put or refreshed only lately, and waits for `settle_seconds`
   before if there is an announcement; if something is gone, the writer fails (Lost) and the disk is written again. The
   announcement also keeps a second collection away, which could remove, for the first one's reason, what was put again.
5. An image that was taken out of `live` can be registered again only after `renew`, which is a writer in the sense of 1.
   `live` is read a second time before anything is removed, so that an image which came back in between is spared.
6. A clock that steps, forward or back, changes nothing in 1 to 3 where writer, store and collection have the same clock: ages
   before and after the step are taken with it. After a step forward everything looks older, so a writer refreshes it once
   more, or finds it gone and fails (Lost). Clocks that differ by more than 450 s need a larger grace; the default has room for
   hours.
7. If `live` cannot be read, or a live manifest is missing or damaged, nothing is removed: what it needs is not known.

8. What `lately` names stays, too, as long as its manifest can be read: the bytes of images that were taken out of `live` less
   than the grace ago. So a download that had begun ends, and the image can be registered again. It only adds to what stays, and
   1 to 7 do not rest on it.

The same holds for a store with a longer g, if all of its writers and collections keep to that one: a place of backups has one.

Manifests go before their chunks, so that a collection which is cut short leaves no manifest without its chunks. What is
not removed today, because it is young or the collection died, is removed another day. Removing twice does no harm.
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
from phimage.chunks.store import Store, Stored

GRACE_SECONDS = 24 * 3600.0
"""So long an interrupted publication finds its chunks again."""

Live = Callable[[], Iterable[ManifestDigest]]
"""Names every manifest that must stay; asked more than once, and must answer from the present each time."""

Approve = Callable[["Report"], None]
"""Called with what is about to be removed; raises to keep everything."""

_AT_ONCE = 8
_BATCH = 1000


class Report(Struct, frozen=True):
    """What a collection found and did; with `dry_run`, what it would have done."""

    objects: int  # chunks and manifests that were in the store
    bytes: int  # their bytes
    live_manifests: int
    live_chunks: int
    removed_manifests: int
    removed_chunks: int
    removed_bytes: int
    young: int  # objects that nothing live needs, and that are in their grace, or were needed less than the grace ago
    leftovers: int  # of dead writers
    dry_run: bool

    @property
    def removed(self) -> int:
        """Chunks and manifests together."""
        return self.removed_manifests + self.removed_chunks


class _Needed:
    """What live images need."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.manifests: set[ManifestDigest] = set()
        self.chunks: set[ChunkDigest] = set()

    def add(self, live: Iterable[ManifestDigest]) -> None:
        """Raises BadManifest."""
        for digest in set(live) - self.manifests:
            self.chunks.update(chunk for _, chunk in load_manifest(self._store, digest).stored())
            self.manifests.add(digest)

    def add_readable(self, live: Iterable[ManifestDigest]) -> None:
        """The same, without manifests that are missing or damaged: their images cannot be read any more."""
        for digest in live:
            with suppress(BadManifest):
                self.add([digest])

    def has(self, name: str) -> bool:
        """Whether an object must stay. What is neither a chunk nor a manifest is nobody's business here."""
        digest = digest_of_name(name)
        if digest is None:
            return True
        if name.startswith(f"{MANIFESTS}/"):
            return ManifestDigest(digest) in self.manifests
        return ChunkDigest(bytes.fromhex(digest)) in self.chunks


def collect(
    store: Store,
    live: Live,
    *,
    now: float,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    approve: Approve = lambda planned: None,
    sleep: Callable[[float], None] = time.sleep,
    lately: Live = tuple,
) -> Report:
    """Remove what no live image needs and what is older than the grace. Safe at any time, and to repeat.

    `lately` names the manifests that were live less than the grace ago; what they need counts as young.

    `now` is read from the clock by the caller, before this call. `approve` is called before anything is removed. Raises
    BadManifest for a live image without manifest, StoreFailure (`busy` on S3 while another collection is under way), and
    ValueError for a grace that writers do not reckon with.
    """
    if grace_seconds < MIN_GRACE_SECONDS:
        raise ValueError(f"a grace of {grace_seconds:g} s: writers rely on {MIN_GRACE_SECONDS:g} s")
    before = now - grace_seconds
    needed, kept = _Needed(store), _Needed(store)
    needed.add(live())
    kept.add_readable(lately())
    found: dict[str, list[Stored]] = {MANIFESTS: [], CHUNKS: []}
    objects = size = young = 0
    for folder, garbage in found.items():
        for stored in store.list(folder):
            objects, size = objects + 1, size + stored.size
            if needed.has(stored.name):
                continue
            if stored.modified < before and not kept.has(stored.name):
                garbage.append(stored)
            else:
                young += 1
    needed.add(live())
    kept.add_readable(lately())
    removed = {
        folder: [stored for stored in garbage if not (needed.has(stored.name) or kept.has(stored.name))]
        for folder, garbage in found.items()
    }

    def report(removed: dict[str, list[Stored]], leftovers: int) -> Report:
        return Report(
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
        announcement = GcMarker(store, now, sleep)
        announcement.begin()
        removed = {folder: _remove(store, garbage, before, announcement) for folder, garbage in removed.items()}
        announcement.end()
    return report(removed, store.tidy(before))


def _remove(store: Store, garbage: list[Stored], before: float, announcement: GcMarker) -> list[Stored]:
    """What was removed; what was refreshed meanwhile stays."""
    removed = []
    for first in range(0, len(garbage), _BATCH):
        announcement.repeat()
        batch = garbage[first : first + _BATCH]
        gone = prefetch(lambda stored: store.delete(stored.name, before), batch, _AT_ONCE)
        removed += [stored for stored, was_removed in zip(batch, gone, strict=True) if was_removed]
    return removed
