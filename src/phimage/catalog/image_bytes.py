"""The bytes of images in SQL, and what they use of a quota."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, and_, func, select, true, update

from phimage.catalog import jobs, tables
from phimage.catalog.engine import Database
from phimage.catalog.images import batches
from phimage.catalog.revisions import BASE, Change, project_scope, revision_at
from phimage.catalog.versioned_table import VersionedTable
from phimage.errors import QuotaExceeded
from phimage.model.ids import ImageId, JobId, ManifestDigest, ProjectId, Revision
from phimage.model.image import NO_PROJECT, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job, JobState
from phimage.model.quota import Quota, Use


def _scope(record: ImageBytes | Quota) -> str:
    return project_scope(record.project) if record.project else BASE


IMAGE_BYTES = VersionedTable(tables.image_bytes, ImageBytes, ("image",), _scope)
QUOTAS = VersionedTable(tables.quota, Quota, ("project",), _scope)


def image_bytes_at(connection: Connection, revision: Revision, project: ProjectId) -> dict[ImageId, ImageBytes]:
    """What is known of the bytes of a project's images at a revision; of the base images without a project."""
    found = IMAGE_BYTES.at(connection, revision, tables.image_bytes.c.project == project)
    return {content.image: content for content in found}


def image_bytes_of(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageBytes]:
    """What is known now of the bytes of some images."""
    found: dict[ImageId, ImageBytes] = {}
    for some in batches(images):
        found.update((content.image, content) for content in IMAGE_BYTES.live(connection, tables.image_bytes.c.image.in_(some)))
    return found


def last_image_bytes(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageBytes]:
    """What is known of the bytes of some images, or was when they were withdrawn."""
    found: dict[ImageId, ImageBytes] = {}
    for some in batches(images):
        found.update(
            (content.image, content) for content in IMAGE_BYTES.latest(connection, tables.image_bytes.c.image.in_(some))
        )
    return found


def known_since(connection: Connection, image: ImageId) -> Revision:
    """The revision that wrote what is known now of the bytes of an image; 0 if nothing is."""
    rows = tables.image_bytes.c
    found = connection.execute(select(rows.since).where(rows.image == image, rows.until == tables.LIVING)).scalar_one_or_none()
    return Revision(found or 0)


def live_manifests(connection: Connection) -> dict[ManifestDigest, list[ImageId]]:
    """Every manifest that an image needs now, with the images that do."""
    rows = tables.image_bytes.c
    images: dict[ManifestDigest, list[ImageId]] = {}
    for row in connection.execute(select(rows.manifest, rows.image).where(rows.until == tables.LIVE, rows.manifest != "")):
        images.setdefault(ManifestDigest(row.manifest), []).append(ImageId(row.image))
    return images


def manifests_since(connection: Connection, revision: Revision) -> set[ManifestDigest]:
    """Every manifest that an image needs now, or needed at `revision` or later."""
    rows = tables.image_bytes.c
    return _manifests(connection, rows.until > revision)


def manifests_withdrawn_after(connection: Connection, time: int) -> set[ManifestDigest]:
    """The manifests that images needed and that were withdrawn after a time, in microseconds since 1970."""
    rows = tables.image_bytes.c
    ended = and_(rows.until > revision_at(connection, time), rows.until < tables.LIVING)
    return _manifests(connection, ended)


def known_manifests(connection: Connection) -> set[ManifestDigest]:
    """Every manifest that an image has now or had at any revision."""
    return _manifests(connection, true())


def _manifests(connection: Connection, where: ColumnElement[bool]) -> set[ManifestDigest]:
    manifest = tables.image_bytes.c.manifest
    return set(connection.execute(select(manifest).where(where, manifest != "").distinct()).scalars())


def awaited_at(connection: Connection, revision: Revision) -> frozenset[ImageId]:
    """The base images whose first bytes are not whole at a revision: their publication goes on, or failed."""
    rows = tables.image_bytes.c
    held = and_(rows.since <= revision, rows.until > revision)
    found = connection.execute(select(rows.image).where(rows.project == NO_PROJECT, held, rows.manifest == ""))
    return frozenset(ImageId(row.image) for row in found)


def failed_before(connection: Connection, time: float) -> list[ImageBytes]:
    """What is known of the base images that failed to get their bytes before a time, in Unix seconds."""
    rows = tables.image_bytes.c
    failed = and_(rows.project == NO_PROJECT, rows.manifest == "", rows.failure != "")
    return IMAGE_BYTES.live(connection, failed, rows.since <= revision_at(connection, int(time * 1_000_000)))


def find_quota(connection: Connection, project: ProjectId) -> Quota | None:
    """The quota of a project, None if it has none."""
    return QUOTAS.find(connection, project)


def use_of(connection: Connection, project: ProjectId) -> Use:
    """What a project uses of its quota now."""
    content, job = tables.image_bytes.c, tables.job.c
    published = select(func.coalesce(func.sum(content.size), 0)).where(
        content.project == project, content.until == tables.LIVE, content.manifest != ""
    )
    unfinished = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
    reserved = select(func.coalesce(func.sum(job.reserved), 0)).where(job.project == project, job.state.in_(unfinished))
    return Use(int(connection.execute(published).scalar_one()), int(connection.execute(reserved).scalar_one()))


def left_of(connection: Connection, project: ProjectId) -> int | None:
    """How many bytes a project may still publish; None without a quota. Exact only for who has the writers' turn."""
    quota = find_quota(connection, project)
    return None if quota is None else quota.max_bytes - use_of(connection, project).total


def reserve(database: Database, id: JobId, size: int) -> int | None:
    """Let a job count as so many bytes. Returns how many are missing in its project's quota, and then nothing is changed.

    It takes the writers' turn, so of many at once no two get the same room.
    """
    job = tables.job
    with database.write() as connection:
        connection.execute(update(tables.head).values(number=tables.head.c.number))
        found = connection.execute(select(job.c.project, job.c.reserved).where(job.c.id == id)).first()
        if found is None:
            return None
        left = left_of(connection, ProjectId(found.project))
        if left is not None and size - found.reserved > left:
            return int(size - found.reserved - left)
        connection.execute(update(job).where(job.c.id == id).values(reserved=size))
    return None


def withdraw_image_bytes(change: Change, images: Iterable[ImageId], reason: str) -> None:
    """End what is known of the bytes of images, and the work on them, with the images themselves.

    The bytes stay in the store until a collection finds that no image needs them.
    """
    for image in images:
        jobs.give_up(change.connection, image, reason)
        content = IMAGE_BYTES.find(change.connection, image)
        if content is not None:
            IMAGE_BYTES.withdraw(change, content)


def restore_image_bytes(change: Change, contents: Collection[ImageBytes]) -> None:
    """Let images that come back have their bytes again. Raises QuotaExceeded; then nothing is changed.

    The caller has made sure that the bytes are in the store, and stay there until the change is committed.
    """
    IMAGE_BYTES.add_all(change, contents)
    for project in {content.project for content in contents}:
        left = left_of(change.connection, project)
        if left is not None and left < 0:
            raise QuotaExceeded(project or "Base", detail=f"{-left} bytes are missing for what comes back")


def expect_image_bytes(change: Change, job: Job, wanted: State = State.AVAILABLE) -> None:
    """Let an image wait for its bytes: a job, what is expected of them, and the state that the image gets with them.

    Earlier work on the image ends.
    """
    jobs.give_up(change.connection, job.image, "another publication took its place")
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
            target_state=wanted,
        ),
    )
