"""Garbage collection: removes stored bytes that no image, upload or job needs.

`chunks.gc` has the argument why a collection never removes chunks and manifests that are needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from phimage.catalog import jobs
from phimage.catalog.backups import oldest_held
from phimage.catalog.image_bytes import live_manifests, manifests_since, manifests_withdrawn_after
from phimage.catalog.orders import ordered_manifests
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.gc import Approve, GcReport
from phimage.chunks.gc import collect_garbage as collect_chunks
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.publishing.expiry import due, expire
from phimage.sources.partial_file import discard_partial

ABANDONED_SECONDS = 7 * 24 * 3600.0
"""The age at which an unused fetched file is removed."""
DATABASE_COPY = "backup-"
"""Prefix of the database copies that backups keep in the work folder."""


class CollectedGarbage(Struct, frozen=True):
    """What a collection removed, or with `dry_run` would remove."""

    store: GcReport
    abandoned: int  # uploads that expired without being completed
    failed: int  # base images withdrawn because their publication failed
    uploads: int  # uploads whose parts are removed because their job has ended
    work_files: int


def is_large(planned: GcReport) -> bool:
    """Whether a removal is probably a mistake: more than half of the objects or bytes, or all of them."""
    more_than_half = 2 * planned.removed > planned.objects or 2 * planned.removed_bytes > planned.bytes
    return bool(planned.removed) and (more_than_half or not planned.live_manifests)


# docs/decisions.md#large-removals-are-confirmed-by-number
def refuse_large(confirmed: int | None = None) -> Approve:
    """An approval that raises SetupError for a large removal, unless `confirmed` is the exact number of objects it removes."""

    def approve(planned: GcReport) -> None:
        if confirmed is not None and confirmed != planned.removed:
            raise SetupError(f"{planned.removed} chunks and manifests would be removed, not {confirmed}: nothing was removed")
        if confirmed is None and is_large(planned):
            size = "no image needs any of them" if not planned.live_manifests else "that is more than half"
            raise SetupError(
                f"{planned.removed} of {planned.objects} chunks and manifests would be removed, {planned.removed_bytes} of"
                f" {planned.bytes} bytes, and {size}: nothing was removed. Check that this is the right database, then confirm"
                f" with `phimage store gc --remove {planned.removed}`"
            )

    return approve


def manifests_in_use(catalog: Catalog) -> list[ManifestDigest]:
    """Every manifest that an image has now."""
    with catalog.database.read() as connection:
        return list(live_manifests(connection))


def manifests_to_keep(catalog: Catalog, now: float) -> list[ManifestDigest]:
    """Every manifest that an image has now, or had at any revision since the oldest held one, or that an agent deploys."""
    with catalog.database.read() as connection:
        held = oldest_held(connection, now)
        of_images = set(live_manifests(connection)) if held is None else manifests_since(connection, held)
        return list(of_images | ordered_manifests(connection))


def _recently_withdrawn(catalog: Catalog, time: float) -> list[ManifestDigest]:
    """Every manifest whose image was withdrawn after a time, in Unix seconds."""
    with catalog.database.read() as connection:
        return list(manifests_withdrawn_after(connection, int(time * 1_000_000)))


# docs/decisions.md#store-maintenance-runs-beside-the-server
def collect_garbage(
    catalog: Catalog,
    store: Store,
    work: Path,
    author: Author,
    *,
    grace_seconds: float,
    dry_run: bool = False,
    approve: Approve | None = None,
    now: Callable[[], float] = time.time,
) -> CollectedGarbage:
    """Remove unneeded chunks, manifests, parts of uploads and work files. Safe at any time; repeatable.

    `approve` is called before anything is changed and may raise; the default is `refuse_large`.
    """
    begun = now()
    grace_begins = begun - grace_seconds
    report = collect_chunks(
        store,
        lambda: manifests_to_keep(catalog, now()),
        now=begun,
        grace_seconds=grace_seconds,
        dry_run=dry_run,
        approve=approve or refuse_large(),
        recently_live=lambda: _recently_withdrawn(catalog, grace_begins),
    )
    expired = due(catalog, store, begun) if dry_run else expire(catalog, store, author, begun)
    with_parts = uploads.leftovers(store)
    in_work = sorted(work.iterdir()) if work.is_dir() else []  # listed before the jobs: excludes files of later jobs
    with catalog.database.read() as connection:
        unfinished = {job.id for job in jobs.all_unfinished(connection)} - set(expired.jobs)
    ended = with_parts - unfinished
    if not dry_run:
        for id in ended:
            uploads.remove(store, id)
    files = _old_work(in_work, unfinished, begun - ABANDONED_SECONDS)
    if not dry_run:
        for file in files:
            discard_partial(file)
    return CollectedGarbage(report, len(expired.jobs), len(expired.images), len(ended), len(files))


def _old_work(files: Iterable[Path], unfinished: Iterable[str], before: float) -> list[Path]:
    """Work files of ended jobs, abandoned fetched files, and database copies of killed backups."""
    known = set(unfinished)

    def is_old(path: Path) -> bool:
        if path.suffix == ".fetch" or path.name.startswith(DATABASE_COPY):
            try:
                return path.stat().st_mtime < before
            except FileNotFoundError:  # its owner has removed it
                return False
        return path.suffix in (".file", ".raw") and path.name.startswith("job-") and path.name.partition(".")[0] not in known

    return [path for path in files if is_old(path)]
