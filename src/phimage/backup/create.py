"""Making a backup. The package says in which order, and why."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from phimage.backup.key import EncryptedKey, fingerprint
from phimage.backup.place import GRACE_SECONDS, Place
from phimage.backup.record import FORMAT, BackupFailed, Record, name_of
from phimage.backup.transfer import Disks, Transferred, transfer
from phimage.catalog import backups, schema
from phimage.catalog.backups import record_created
from phimage.catalog.image_bytes import live_manifests
from phimage.catalog.views import Catalog
from phimage.chunks.gc_guard import GcGuard
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written, write_file
from phimage.errors import ServiceUnavailable, SetupError
from phimage.maintenance.copy import opened, snapshot
from phimage.maintenance.gc import DATABASE_COPY

REMEDY = "find the images with `phimage image verify --all`, publish or withdraw them, and run the backup again"

Progress = Callable[[str, int, int | None], object]
"""Called with what is being done, how many bytes are done, and of how many."""


class Created(Struct, frozen=True):
    """A backup that was made."""

    record: Record
    images: Transferred
    database_bytes_sent: int


def create(
    catalog: Catalog,
    store: Store,
    place: Place,
    work: Path,
    *,
    encrypted_key: EncryptedKey | None = None,
    progress: Progress = lambda phase, done, total: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Created:
    """Make a backup while servers, publishers and collections work on. Safe to end at any time, and to repeat.

    `work` is a folder with room for a copy of the database. Raises SetupError, BackupFailed, StoreFailure, ServiceUnavailable.
    """
    key_fingerprint = fingerprint(catalog.key_encryption)
    place.claim(key_fingerprint)
    guard = GcGuard(place.store, now, sleep, GRACE_SECONDS)
    hold_id = f"backup-{secrets.token_hex(6)}"
    with HeldRevision(catalog, hold_id, now) as held, _database_copy(work) as path:
        progress("database", 0, None)
        at = now()
        copied = snapshot(catalog.database, path)
        manifests = _manifests(path)

        def sending(done: int, total: int) -> None:
            held.keep()
            progress("images", done, total)

        disks = Disks(store, manifests, REMEDY)
        images = transfer(store, place.store, disks, guard.ensure_listed, sending)
        name = _free_name(place, at)
        register_before = guard.confirm(disks.names)
        database = _send_database(place.store, path, progress, now, sleep)
        record = Record(
            format=FORMAT,
            name=name,
            time=at,
            revision=copied.revision,
            schema=schema.newest(),
            tables=copied.tables,
            database=database.digest,
            database_bytes=database.manifest.size,
            manifests=tuple(sorted(disks.manifests)),
            image_bytes=images.image_bytes,
            key_fingerprint=key_fingerprint,
            encrypted_key=encrypted_key,
        )
        if now() > min(register_before, database.register_before):
            raise BackupFailed("the backup took too long to be kept for certain: run it again, which goes on")
        place.put(record)
    record_created(catalog.database, place.describe(), record.name, record.revision, now())
    return Created(record, images, database.new_bytes)


@contextmanager
def _database_copy(work: Path) -> Iterator[Path]:
    """Where the copy of the database is made; it is removed at the end. Of a killed backup `phimage store gc` removes it."""
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the work folder {work} cannot be made: {error.strerror}") from None
    path = work / f"{DATABASE_COPY}{secrets.token_hex(6)}.sqlite"
    try:
        yield path
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _manifests(path: Path) -> list[ManifestDigest]:
    with opened(path) as database, database.read() as connection:
        return list(live_manifests(connection))


def _send_database(
    target: Store, path: Path, progress: Progress, now: Callable[[], float], sleep: Callable[[float], None]
) -> Written:
    size = path.stat().st_size

    def taken(done: int) -> None:
        progress("database", done, size)

    with DiskWriter(target, size, now=now, sleep=sleep, progress=taken) as writer:
        write_file(writer, path)
        return writer.finish({})


def _free_name(place: Place, at: float) -> str:
    """The name of the time, or of the next second that no backup has."""
    taken = set(place.names())
    while (name := name_of(at)) in taken:
        at += 1
    return name


HOLD_SECONDS: Final = 4 * 3600.0
"""How long the hold of a killed backup keeps collections from removing what it was to copy."""


class HeldRevision:
    """A context manager: the newest revision is held inside. Call `keep` now and then."""

    def __init__(self, catalog: Catalog, id: str, now: Callable[[], float]) -> None:
        self._catalog = catalog
        self._id = id
        self._now = now
        self._expires = 0.0

    def keep(self) -> None:
        """Extend the hold when a quarter of it has passed.

        Raises BackupFailed when it has expired, as after a machine slept: a collection may have removed what was to be copied.
        A database that is away for a while does no harm: the next call tries again.
        """
        now = self._now()
        if self._expires - now > HOLD_SECONDS * 3 / 4:
            return
        try:
            self._catalog.refresh()  # a database that was away counts as away until it is tried
            extended = backups.extend_hold(self._catalog.database, self._id, now=now, seconds=HOLD_SECONDS)
        except ServiceUnavailable:
            if now < self._expires:
                return
            raise
        if not extended:
            raise BackupFailed("the hold on collection expired while the backup was made: run the backup again, which goes on")
        self._expires = now + HOLD_SECONDS

    def __enter__(self) -> Self:
        hold = backups.add_hold(self._catalog.database, self._id, "backup", now=self._now(), seconds=HOLD_SECONDS)
        self._expires = hold.expires
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(ServiceUnavailable):  # else it expires
            backups.release_hold(self._catalog.database, self._id)
