"""Creates a backup. The docstring of the package has the order of its steps."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from phimage.backup.key import EncryptedKey
from phimage.backup.place import GRACE_SECONDS, BackupPlace
from phimage.backup.record import FORMAT, BackupFailed, BackupRecord, name_of
from phimage.backup.transfer import NeededDisks, Transferred, transfer
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

# docs/decisions.md#a-damaged-chunk-ends-a-backup
REMEDY = "find the images with `phimage image verify --all`, publish or withdraw them, and run the backup again"

Progress = Callable[[str, int, int | None], object]
"""Called with the phase, its bytes that are done, and all of its bytes."""


class Created(Struct, frozen=True):
    """The result of `create`."""

    record: BackupRecord
    images: Transferred
    database_bytes_sent: int


def create(
    catalog: Catalog,
    store: Store,
    place: BackupPlace,
    work: Path,
    *,
    encrypted_key: EncryptedKey | None = None,
    progress: Progress = lambda phase, done, total: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Created:
    """Create a backup while servers, publishers and collections run. Can be interrupted at any time and repeated.

    `work` is a folder with room for a copy of the database. Raises SetupError, BackupFailed, StoreFailure, ServiceUnavailable.
    """
    key_fingerprint = catalog.key_encryption.fingerprint()
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

        try:
            disks = NeededDisks(store, manifests, REMEDY)
        except BackupFailed:
            held.keep()  # raises if the hold has expired, which is then the reason
            raise
        images = transfer(store, place.store, disks, guard.ensure_listed, sending)
        name = _free_name(place, at)
        register_before = guard.confirm(disks.names)
        database = _send_database(place.store, path, progress, now, sleep)
        record = BackupRecord(
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
            raise BackupFailed(
                "the backup took too long, and garbage collection may have removed parts of it: run it again; it continues"
            )
        # docs/decisions.md#a-backup-is-a-store-and-its-record-comes-last
        place.put(record)
    record_created(catalog.database, place.describe(), record.name, record.revision, now())
    return Created(record, images, database.new_bytes)


@contextmanager
def _database_copy(work: Path) -> Iterator[Path]:
    """The path for a copy of the database, removed at the end. `phimage store gc` removes the copy of a killed backup."""
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the work folder {work} cannot be created: {error.strerror}") from None
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


def _free_name(place: BackupPlace, at: float) -> str:
    """The name for a time, or for the next second without a backup."""
    taken = set(place.names())
    while (name := name_of(at)) in taken:
        at += 1
    return name


HOLD_SECONDS: Final = 4 * 3600.0
"""Seconds for which the hold of a killed backup restricts garbage collection."""


class HeldRevision:
    """A context manager that holds the newest revision. Call `keep` regularly inside. A killed backup's hold expires."""

    def __init__(self, catalog: Catalog, id: str, now: Callable[[], float]) -> None:
        self._catalog = catalog
        self._id = id
        self._now = now
        self._expires = 0.0

    def keep(self) -> None:
        """Extend the hold after a quarter of its time.

        Raises BackupFailed if it has expired, for example because the machine slept: a collection may have removed bytes that
        the backup needs. While the database is away, the next call tries again.
        """
        now = self._now()
        if self._expires - now > HOLD_SECONDS * 3 / 4:
            return
        try:
            self._catalog.refresh()  # closes the circuit breaker of a database that was away
            extended = backups.extend_hold(self._catalog.database, self._id, now=now, seconds=HOLD_SECONDS)
        except ServiceUnavailable:
            if now < self._expires:
                return
            raise
        if not extended:
            raise BackupFailed("the hold on garbage collection expired during the backup: run the backup again; it continues")
        self._expires = now + HOLD_SECONDS

    def __enter__(self) -> Self:
        hold = backups.add_hold(self._catalog.database, self._id, "backup", now=self._now(), seconds=HOLD_SECONDS)
        self._expires = hold.expires
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(ServiceUnavailable):  # otherwise it expires
            backups.release_hold(self._catalog.database, self._id)
