"""The bytes of images in SQL, and the quotas of projects."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, and_, func, select, true, update

from phimage.catalog import jobs, tables
from phimage.catalog.engine import Database
from phimage.catalog.images import IMAGES, batches
from phimage.catalog.orders import end_capture
from phimage.catalog.revisions import BASE, Change, project_scope, revision_at
from phimage.catalog.versioned_table import VersionedTable
from phimage.errors import QuotaExceeded
from phimage.model.ids import ImageId, JobId, ManifestDigest, ProjectId, Revision
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.image_bytes import ImageBytes, Quota, Use
from phimage.model.job import Job, JobState


def _scope(record: ImageBytes | Quota) -> str:
    return project_scope(record.project) if record.project else BASE


IMAGE_BYTES = VersionedTable(tables.image_bytes, ImageBytes, ("image",), _scope)
QUOTAS = VersionedTable(tables.quota, Quota, ("project",), _scope)


def image_bytes_at(connection: Connection, revision: Revision, project: ProjectId) -> dict[ImageId, ImageBytes]:
    """The bytes of a project's images at a revision; of the base images for NO_PROJECT."""
    records = IMAGE_BYTES.at(connection, revision, tables.image_bytes.c.project == project)
    return {record.image: record for record in records}


def custom_image_bytes_at(connection: Connection, revision: Revision) -> dict[ImageId, ImageBytes]:
    """The bytes of the images of all projects at a revision."""
    records = IMAGE_BYTES.at(connection, revision, tables.image_bytes.c.project != NO_PROJECT)
    return {record.image: record for record in records}


def image_bytes_of(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageBytes]:
    """The bytes of images now."""
    records: dict[ImageId, ImageBytes] = {}
    for some in batches(images):
        live = IMAGE_BYTES.live(connection, tables.image_bytes.c.image.in_(some))
        records.update((record.image, record) for record in live)
    return records


def last_image_bytes(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageBytes]:
    """The bytes of images now, or when the images were withdrawn."""
    records: dict[ImageId, ImageBytes] = {}
    for some in batches(images):
        latest = IMAGE_BYTES.latest(connection, tables.image_bytes.c.image.in_(some))
        records.update((record.image, record) for record in latest)
    return records


def image_bytes_with(connection: Connection, image: ImageId, manifest: ManifestDigest) -> ImageBytes | None:
    """The bytes of an image that have a manifest, also those that it had before; None if it never had them."""
    rows = tables.image_bytes.c
    found = IMAGE_BYTES.latest(connection, rows.image == image, rows.manifest == manifest)
    return found[0] if found else None


def known_since(connection: Connection, image: ImageId) -> Revision:
    """The revision that wrote the present record of an image's bytes; 0 if there is none."""
    rows = tables.image_bytes.c
    since = connection.execute(select(rows.since).where(rows.image == image, rows.until == tables.LIVING)).scalar_one_or_none()
    return Revision(since or 0)


def known_since_of(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, Revision]:
    """For each image that has one, the revision that wrote the present record of its bytes."""
    rows = tables.image_bytes.c
    since: dict[ImageId, Revision] = {}
    for some in batches(images):
        found = connection.execute(select(rows.image, rows.since).where(rows.image.in_(some), rows.until == tables.LIVING))
        since.update((ImageId(row.image), Revision(row.since)) for row in found)
    return since


def live_manifests(connection: Connection) -> dict[ManifestDigest, list[ImageId]]:
    """Every manifest that images have now, with these images."""
    rows = tables.image_bytes.c
    images: dict[ManifestDigest, list[ImageId]] = {}
    for row in connection.execute(select(rows.manifest, rows.image).where(rows.until == tables.LIVE, rows.manifest != "")):
        images.setdefault(ManifestDigest(row.manifest), []).append(ImageId(row.image))
    return images


def manifests_since(connection: Connection, revision: Revision) -> set[ManifestDigest]:
    """Every manifest that an image has now, or had at `revision` or later."""
    rows = tables.image_bytes.c
    return _manifests(connection, rows.until > revision)


def manifests_withdrawn_after(connection: Connection, time: int) -> set[ManifestDigest]:
    """The manifests of images that were withdrawn after a time, in microseconds since 1970."""
    rows = tables.image_bytes.c
    ended = and_(rows.until > revision_at(connection, time), rows.until < tables.LIVING)
    return _manifests(connection, ended)


def known_manifests(connection: Connection) -> set[ManifestDigest]:
    """Every manifest that an image has now or had at any revision."""
    return _manifests(connection, true())


def _manifests(connection: Connection, where: ColumnElement[bool]) -> set[ManifestDigest]:
    manifest = tables.image_bytes.c.manifest
    return set(connection.execute(select(manifest).where(where, manifest != "").distinct()).scalars())


# docs/decisions.md#base-images-are-listed-once-their-bytes-are-whole
def awaited_at(connection: Connection, revision: Revision) -> frozenset[ImageId]:
    """The base images without bytes at a revision, because their publication is unfinished or failed."""
    rows = tables.image_bytes.c
    valid = and_(rows.since <= revision, rows.until > revision)
    images = connection.execute(select(rows.image).where(rows.project == NO_PROJECT, valid, rows.manifest == "")).scalars()
    return frozenset(ImageId(image) for image in images)


def failed_before(connection: Connection, time: float) -> list[ImageBytes]:
    """The records of base images whose publication failed before a time, in Unix seconds."""
    rows = tables.image_bytes.c
    failed = and_(rows.project == NO_PROJECT, rows.manifest == "", rows.failure != "")
    return IMAGE_BYTES.live(connection, failed, rows.since <= revision_at(connection, int(time * 1_000_000)))


def find_quota(connection: Connection, project: ProjectId) -> Quota | None:
    """The quota of a project; None if it has none."""
    return QUOTAS.find(connection, project)


def use_of(connection: Connection, project: ProjectId) -> Use:
    """The bytes that a project uses now."""
    stored, job = tables.image_bytes.c, tables.job.c
    published = select(func.coalesce(func.sum(stored.size), 0)).where(
        stored.project == project, stored.until == tables.LIVE, stored.manifest != ""
    )
    unfinished = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
    reserved = select(func.coalesce(func.sum(job.reserved), 0)).where(job.project == project, job.state.in_(unfinished))
    return Use(int(connection.execute(published).scalar_one()), int(connection.execute(reserved).scalar_one()))


def left_of(connection: Connection, project: ProjectId) -> int | None:
    """The bytes that a project may still publish; None without a quota. Exact only inside a change, without other writers."""
    quota = find_quota(connection, project)
    return None if quota is None else quota.max_bytes - use_of(connection, project).total


def reserve(database: Database, id: JobId, size: int) -> int | None:
    """Reserve bytes of the quota for a job. Returns None, or the bytes that the quota lacks, and then reserves nothing.

    Locks `head` like every writer, so that concurrent jobs cannot reserve the same bytes.
    """
    job = tables.job
    with database.write() as connection:
        connection.execute(update(tables.head).values(number=tables.head.c.number))
        row = connection.execute(select(job.c.project, job.c.reserved).where(job.c.id == id)).first()
        if row is None:
            return None
        left = left_of(connection, ProjectId(row.project))
        if left is not None and size - row.reserved > left:
            return int(size - row.reserved - left)
        connection.execute(update(job).where(job.c.id == id).values(reserved=size))
    return None


def withdraw_image_bytes(change: Change, images: Iterable[ImageId], reason: str) -> None:
    """Withdraw the bytes of images, and end the jobs and captures of these images. The store keeps the bytes until they are
    collected."""
    for image in images:
        end_capture(change, image, reason)
        jobs.cancel(change.connection, image, reason)
        record = IMAGE_BYTES.find(change.connection, image)
        if record is not None:
            IMAGE_BYTES.withdraw(change, record)


def give_up(change: Change, id: ImageId, reason: str, of_file: Collection[ImageId]) -> Image | None:
    """End the hope for an image's bytes, whose job has ended: returns the image as it is afterwards, None once withdrawn.

    A base image that no catalogue file names (`of_file`) is withdrawn, because no tenant ever listed it. Any other becomes
    Unavailable with the reason. An image with bytes stays as it is.
    """
    image, record = IMAGES.find(change.connection, id), IMAGE_BYTES.find(change.connection, id)
    if image is None or record is None or record.stored:
        return image
    if image.type is ImageType.BASE and id not in of_file:
        IMAGE_BYTES.withdraw(change, record)
        IMAGES.withdraw(change, image)
        return None
    unavailable = replace(image, state=State.UNAVAILABLE)
    IMAGE_BYTES.put(change, replace(record, failure=reason))
    IMAGES.put(change, unavailable)
    return unavailable


def restore_image_bytes(change: Change, records: Collection[ImageBytes]) -> None:
    """Restore the bytes of images that are restored. Raises QuotaExceeded, which rolls the change back.

    The caller ensures that the store has the bytes and keeps them until the change is committed.
    """
    IMAGE_BYTES.add_all(change, records)
    for project in {record.project for record in records}:
        left = left_of(change.connection, project)
        if left is not None and left < 0:
            raise QuotaExceeded(project or "Base", detail=f"{-left} bytes more are needed for the restored images")


def expect_image_bytes(change: Change, job: Job, target_state: State = State.AVAILABLE) -> None:
    """Add the job that publishes an image's bytes, and their record with the state that the image gets. Ends earlier jobs."""
    jobs.cancel(change.connection, job.image, "replaced by another publication")
    jobs.add(change.connection, job)
    origin = job.origin
    IMAGE_BYTES.put(
        change,
        ImageBytes(
            image=job.image,
            project=job.project,
            source=origin.url,
            source_digest=origin.digest,
            overrides=origin.overrides,
            target_state=target_state,
        ),
    )
