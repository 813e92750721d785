"""Looking after image bytes: collecting what no image needs, verifying what images need, measuring both.

These read or remove bytes for minutes, so they run where the store is, beside whatever else runs, and not as Actions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from phimage.catalog import jobs
from phimage.catalog.engine import Database
from phimage.catalog.holds import oldest_held
from phimage.catalog.image_bytes import image_bytes_of, live_manifests, manifests_since, manifests_withdrawn_after
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.gc import Approve, Report, collect
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.scrub import Finding, Progress, scrub
from phimage.chunks.scrub import find_missing as chunks_missing
from phimage.chunks.stats import StoreStats, measure
from phimage.chunks.store import Store
from phimage.delivery.zstd_cache import ZstdCache
from phimage.errors import SetupError
from phimage.model.ids import ImageId
from phimage.publishing.expiry import due, expire
from phimage.sources.partial import discard
from phimage.waiting import Patience

ABANDONED_SECONDS = 7 * 24 * 3600.0
"""The age from which an unused fetched file is removed."""


DATABASE_COPY = "backup-"
"""Names in the work folder that begin so are copies of the database, on their way into a backup."""


class Swept(Struct, frozen=True):
    """What a sweep removed; with `dry_run` what it would have removed, without cached zstd files."""

    store: Report
    abandoned: int  # uploads that were begun and never completed
    failed: int  # base images that are withdrawn because they never got their bytes
    uploads: int  # uploads whose parts are removed, because their job has ended
    zstd_files: int
    work_files: int


def is_large(planned: Report) -> bool:
    """Whether a removal looks like a mistake: more than half of the objects or of the bytes, or no image that needs any."""
    more_than_half = 2 * planned.removed > planned.objects or 2 * planned.removed_bytes > planned.bytes
    return bool(planned.removed) and (more_than_half or not planned.live_manifests)


def refuse_large(confirmed: int | None = None) -> Approve:
    """Refuse a large removal unless `confirmed` is exactly how many objects it removes. Raises SetupError."""

    def approve(planned: Report) -> None:
        if confirmed is not None and confirmed != planned.removed:
            raise SetupError(f"{planned.removed} chunks and manifests would be removed, not {confirmed}: nothing was removed")
        if confirmed is None and is_large(planned):
            needed = "no image needs any" if not planned.live_manifests else "that is more than half"
            raise SetupError(
                f"{planned.removed} of {planned.objects} chunks and manifests would be removed, {planned.removed_bytes} of"
                f" {planned.bytes} bytes, and {needed}: nothing was removed. Is this the right database? If it is, confirm with"
                f" `phimage store gc --remove {planned.removed}`"
            )

    return approve


def live(catalog: Catalog) -> list[ManifestDigest]:
    """Every manifest that an image needs, as of now."""
    with catalog.database.read() as connection:
        return [ManifestDigest(digest) for digest in live_manifests(connection)]


def needed(catalog: Catalog, now: float) -> list[ManifestDigest]:
    """Every manifest that a collection keeps: of an image now, or at any revision since the oldest one that is held."""
    with catalog.database.read() as connection:
        held = oldest_held(connection, now)
        found = live_manifests(connection) if held is None else manifests_since(connection, held)
    return [ManifestDigest(digest) for digest in found]


def withdrawn_after(catalog: Catalog, time: float) -> list[ManifestDigest]:
    """Every manifest that an image needed and that was withdrawn after a time."""
    with catalog.database.read() as connection:
        return [ManifestDigest(digest) for digest in manifests_withdrawn_after(connection, int(time * 1_000_000))]


def sweep(
    catalog: Catalog,
    store: Store,
    zstd_cache: ZstdCache,
    work: Path,
    author: Author,
    *,
    grace_seconds: float,
    dry_run: bool = False,
    approve: Approve | None = None,
    now: Callable[[], float] = time.time,
    patience: Patience | None = None,
) -> Swept:
    """Remove unneeded chunks, manifests, parts of uploads, cached zstd files, work files. Safe at any time, and to repeat.

    `approve` may refuse it before anything is changed; by default it is `refuse_large`.
    `patience`: how long it waits for a zstd file that is being cached; as long as that takes if there is none.
    """
    begun = now()
    grace_begins = begun - grace_seconds
    report = collect(
        store,
        lambda: needed(catalog, now()),
        now=begun,
        grace_seconds=grace_seconds,
        dry_run=dry_run,
        approve=approve or refuse_large(),
        lately=lambda: withdrawn_after(catalog, grace_begins),
    )
    expired = due(catalog, store, begun) if dry_run else expire(catalog, store, author, begun)
    with_parts = uploads.leftovers(store)
    in_work = sorted(work.iterdir()) if work.is_dir() else []  # before the jobs: a later job's files are not among them
    with catalog.database.read() as connection:
        unfinished = {job.id for job in jobs.all_unfinished(connection)} - set(expired.jobs)
    ended = with_parts - unfinished
    if not dry_run:
        for id in ended:
            uploads.remove(store, id)
    in_use = {*live(catalog), *withdrawn_after(catalog, grace_begins)}
    removed_files = 0 if dry_run else zstd_cache.keep_only(in_use, patience)
    files = _old_work(in_work, unfinished, begun - ABANDONED_SECONDS)
    if not dry_run:
        for file in files:
            discard(file)
    return Swept(report, len(expired.jobs), len(expired.images), len(ended), removed_files, len(files))


def _old_work(files: Iterable[Path], unfinished: Iterable[str], before: float) -> list[Path]:
    """Work files of jobs that have ended, fetched files that nobody went on with, and database copies of killed backups."""
    known = set(unfinished)

    def is_old(path: Path) -> bool:
        if path.suffix == ".fetch" or path.name.startswith(DATABASE_COPY):
            try:
                return path.stat().st_mtime < before
            except FileNotFoundError:  # its owner has just removed it
                return False
        return path.suffix in (".file", ".raw") and path.name.startswith("job-") and path.name.partition(".")[0] not in known

    return [path for path in files if is_old(path)]


class Verified(Struct, frozen=True):
    """Something wrong, and the images that it hurts."""

    finding: Finding
    images: tuple[ImageId, ...]


def manifests_of(catalog: Catalog, images: Iterable[ImageId]) -> set[ManifestDigest] | None:
    """The manifests of these images; None, which means any, if none is named."""
    asked = list(images)
    if not asked:
        return None
    with catalog.database.read() as connection:
        return {ManifestDigest(content.manifest) for content in image_bytes_of(connection, asked).values()}


def verify(
    catalog: Catalog, store: Store, images: Iterable[ImageId], *, whole_disk: bool, quarantine: bool, now: float
) -> Iterator[Verified | Progress]:
    """Verify every chunk of images, of all if none is named. Raises SetupError for one that has no bytes.

    What was withdrawn meanwhile is not told.
    """
    asked = list(images)
    with catalog.database.read() as connection:
        if asked:
            contents = image_bytes_of(connection, asked)
            missing = [id for id in asked if id not in contents or not contents[id].stored]
            if missing:
                raise SetupError(f"{missing[0]} has no bytes to verify: there is no such image, or they are not here")
            manifests = [ManifestDigest(content.manifest) for content in contents.values()]
        else:
            manifests = [ManifestDigest(digest) for digest in live_manifests(connection)]
    for told in scrub(store, manifests, now=now, whole_disk=whole_disk, quarantine=quarantine):
        if isinstance(told, Progress):
            yield told
        else:
            yield from _hurt(catalog.database, told)


def find_missing(database: Database, store: Store) -> Iterator[Verified]:
    """Manifests and chunks that images need and the store lacks. Compares no bytes. Raises StoreFailure."""
    with database.read() as connection:
        manifests = [ManifestDigest(digest) for digest in live_manifests(connection)]
    if manifests:
        for finding in chunks_missing(store, manifests):
            yield from _hurt(database, finding)


def _hurt(database: Database, finding: Finding) -> Iterator[Verified]:
    """The finding with the images that it hurts; nothing when all of them were withdrawn meanwhile."""
    with database.read() as connection:
        hurt = live_manifests(connection).get(finding.manifest, [])
    if hurt:
        yield Verified(finding, tuple(hurt))


def stats(catalog: Catalog, store: Store) -> tuple[StoreStats, dict[str, list[ImageId]]]:
    """What the images cost, and which images each manifest is of. Raises BadManifest."""
    with catalog.database.read() as connection:
        found = live_manifests(connection)
    return measure(store, [ManifestDigest(digest) for digest in found]), found
