"""Looking after image bytes: collecting what no image needs, verifying what images need, measuring both.

These read or remove bytes for minutes, so they run where the store is, beside whatever else runs, and not as Actions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from phimage.catalog import jobs
from phimage.catalog.contents import contents_of, live_manifests, manifests_withdrawn_after
from phimage.catalog.revisions import Author
from phimage.catalog.store import Catalog
from phimage.chunks import uploads
from phimage.chunks.collect import Report, collect
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.scrub import Finding, Progress, scrub
from phimage.chunks.stats import StoreStats, measure
from phimage.chunks.store import Store
from phimage.delivery.packs import Packs
from phimage.errors import SetupError
from phimage.model.ids import ImageId
from phimage.publishing.expiry import due, expire
from phimage.sources.partial import discard

ABANDONED_SECONDS = 7 * 24 * 3600.0
"""The age from which an unused fetched file is removed."""


class Swept(Struct, frozen=True):
    """What a sweep removed; with `dry_run` what it would have removed, packs apart, which are only copies."""

    store: Report
    abandoned: int  # uploads that were begun and never completed
    failed: int  # base images that are withdrawn because they never got their bytes
    uploads: int  # uploads whose parts are removed, because their job has ended
    packs: int
    work_files: int


def live(catalog: Catalog) -> list[ManifestDigest]:
    """Every manifest that an image needs, as of now."""
    with catalog.database.read() as connection:
        return [ManifestDigest(digest) for digest in live_manifests(connection)]


def withdrawn_after(catalog: Catalog, time: float) -> list[ManifestDigest]:
    """Every manifest that an image needed and that was withdrawn after a time."""
    with catalog.database.read() as connection:
        return [ManifestDigest(digest) for digest in manifests_withdrawn_after(connection, int(time * 1_000_000))]


def sweep(
    catalog: Catalog,
    store: Store,
    packs: Packs,
    work: Path,
    author: Author,
    *,
    grace_seconds: float,
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
) -> Swept:
    """Remove what nothing needs: chunks and manifests, parts of uploads, packs, work files. Safe at any time, and to repeat."""
    begun = now()
    expired = due(catalog, store, begun) if dry_run else expire(catalog, store, author, begun)
    with_parts = uploads.leftovers(store)
    with catalog.database.read() as connection:
        unfinished = {job.id for job in jobs.all_unfinished(connection)} - set(expired.jobs)
    ended = with_parts - unfinished
    if not dry_run:
        for id in ended:
            uploads.remove(store, id)
    report = collect(
        store,
        lambda: live(catalog),
        now=begun,
        grace_seconds=grace_seconds,
        dry_run=dry_run,
        lately=lambda: withdrawn_after(catalog, begun - grace_seconds),
    )
    in_use = {*live(catalog), *withdrawn_after(catalog, begun - grace_seconds)}
    removed_packs = 0 if dry_run else packs.keep_only(in_use)
    files = _old_work(work, unfinished, begun - ABANDONED_SECONDS)
    if not dry_run:
        for file in files:
            discard(file)
    return Swept(report, len(expired.jobs), len(expired.images), len(ended), removed_packs, len(files))


def _old_work(work: Path, unfinished: Iterable[str], before: float) -> list[Path]:
    """Work files of jobs that have ended, and fetched files that nobody went on with."""
    known = set(unfinished)

    def is_old(path: Path) -> bool:
        if path.suffix == ".fetch":
            return path.stat().st_mtime < before
        return path.suffix in (".file", ".raw") and path.name.startswith("job-") and path.name.partition(".")[0] not in known

    return [path for path in (sorted(work.iterdir()) if work.is_dir() else ()) if is_old(path)]


class Verified(Struct, frozen=True):
    """Something wrong, and the images that it hurts."""

    finding: Finding
    images: tuple[ImageId, ...]


def verify(
    catalog: Catalog, store: Store, images: Iterable[ImageId], *, whole_disk: bool, quarantine: bool, now: float
) -> Iterator[Verified | Progress]:
    """Verify every chunk of images, of all if none is named. Raises SetupError for one that has no bytes.

    What was withdrawn meanwhile is not told.
    """
    asked = list(images)
    with catalog.database.read() as connection:
        if asked:
            contents = contents_of(connection, asked)
            missing = [id for id in asked if id not in contents or not contents[id].here]
            if missing:
                raise SetupError(f"{missing[0]} has no bytes to verify: there is no such image, or they are not here")
            manifests = [ManifestDigest(content.manifest) for content in contents.values()]
        else:
            manifests = [ManifestDigest(digest) for digest in live_manifests(connection)]
    for told in scrub(store, manifests, now=now, whole_disk=whole_disk, quarantine=quarantine):
        if isinstance(told, Progress):
            yield told
            continue
        with catalog.database.read() as connection:
            hurt = live_manifests(connection).get(told.manifest, [])
        if hurt:
            yield Verified(told, tuple(hurt))


def stats(catalog: Catalog, store: Store) -> tuple[StoreStats, dict[str, list[ImageId]]]:
    """What the images cost, and which images each manifest is of. Raises BadManifest."""
    with catalog.database.read() as connection:
        found = live_manifests(connection)
    return measure(store, [ManifestDigest(digest) for digest in found]), found
