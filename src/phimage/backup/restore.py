"""Restoring a backup into an empty place: data folder, database and store.

Nothing is written before the key fits and every part of the place is empty. Then a marker says that a restore has begun here:
after a kill the same command goes on, and no server starts on half of an installation. The database comes after the bytes that
it refers to, then the checks; then the marker is removed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from phimage import ownership
from phimage.backup.create import Progress
from phimage.backup.database_file import write_database_file
from phimage.backup.key import check_key
from phimage.backup.place import Place
from phimage.backup.record import BackupFailed, Record
from phimage.backup.transfer import Disks, Transferred, transfer
from phimage.catalog import schema
from phimage.catalog.engine import Database, database_url, open_database
from phimage.catalog.key_encryption import KeyEncryption, read_master_key, write_master_key
from phimage.catalog.views import Catalog
from phimage.chunks.factory import open_store
from phimage.chunks.scrub import Progress as Scrubbed
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.files import replace_file, sync_folder
from phimage.maintenance import verify
from phimage.maintenance.check import check
from phimage.maintenance.copy import copy, digests, is_empty, opened
from phimage.settings import Settings

REMEDY = "`phimage backup verify` says which backups are hurt; restore another one with --backup"


class Restored(Struct, frozen=True):
    """What was restored, and what the checks found."""

    record: Record
    images: Transferred
    findings: tuple[str, ...]


class _Marker(Struct, frozen=True):
    """What is being restored here, and where to."""

    backup: str
    key_fingerprint: str
    store: str
    database: str


def begun(settings: Settings) -> str | None:
    """The name of the backup whose restore has begun in a data folder and did not end."""
    marker = _read_marker(settings)
    return None if marker is None else marker.backup


def restore(
    place: Place,
    record: Record,
    settings: Settings,
    key: bytes,
    *,
    progress: Progress = lambda phase, done, total: None,
    now: Callable[[], float] = time.time,
) -> Restored:
    """Restore a backup to where the settings say, and run both checks on it. Goes on where an earlier try ended.

    Raises SetupError before anything is written when the key is another one, when the backup is of a newer schema, or when
    something is there already; BackupFailed when the backup lacks something.
    """
    check_key(key, record.key_fingerprint)
    if record.schema > schema.newest():
        raise SetupError(f"backup {record.name} has schema {record.schema}: restore it with the newer phimage that made it")
    database = open_database(database_url(settings.database, settings.data_folder))
    try:
        goes_on = _claim(settings, record, key, database)
        store = open_store(settings.store_place)
        disks = Disks(place.store, record.manifests, REMEDY)
        images = transfer(place.store, store, disks, lambda stored: True, lambda done, total: progress("images", done, total))
        if not settings.master_key_file.exists():
            write_master_key(settings.master_key_file, key)
        progress("database", 0, None)
        _restore_database(place.store, record, database, settings.data_folder, goes_on=goes_on)
        ownership.adopt(database, store)
        findings = _check(Catalog(database, KeyEncryption(key, secrets.token_bytes)), store, progress, now())
    finally:
        database.close()
    settings.restore_marker.unlink()
    return Restored(record, images, tuple(findings))


def _claim(settings: Settings, record: Record, key: bytes, database: Database) -> bool:
    """Take an empty place, or go on in one that this backup was being restored to: then True."""
    store = settings.store_place
    wanted = _Marker(
        record.name,
        record.key_fingerprint,
        store if store.startswith("s3://") else str(Path(store).absolute()),
        database.engine.url.render_as_string(hide_password=True),
    )
    found = _read_marker(settings)
    if found is not None:
        if found != wanted:
            raise SetupError(
                f"{settings.data_folder} has half of backup {found.backup}, restored to {found.store} and {found.database}:"
                " run that restore again, or empty all three"
            )
        return True
    _require_empty(settings, key, database)
    _write_marker(settings, wanted)
    return False


def _require_empty(settings: Settings, key: bytes, database: Database) -> None:
    data, key_file = settings.data_folder, settings.master_key_file
    if key_file.exists() and read_master_key(key_file) != key:
        raise SetupError(f"{key_file} is another master key than the one of the backup: name another place")
    looked_at = {key_file, Path(settings.store_place)}
    found = sorted(path.name for path in data.iterdir() if path not in looked_at) if data.is_dir() else []
    if found:
        raise SetupError(f"the data folder {data} is not empty, it has {found[0]}: restore to a new one with --data-dir")
    if _holds_anything(settings.store_place):
        raise SetupError(f"the store {settings.store_place} is not empty: restore to a new one with --store")
    if database.engine.dialect.name == "sqlite":
        if Path(database.engine.url.database or "").exists():
            raise SetupError(f"there is a database {database.engine.url.database}: restore to a new one")
    elif not is_empty(database):
        raise SetupError("the database is not empty: make a new, empty one and name it with --database")


def _holds_anything(store_place: str) -> bool:
    if store_place.startswith("s3://"):
        return next(open_store(store_place).list(), None) is not None
    folder = Path(store_place)
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def _read_marker(settings: Settings) -> _Marker | None:
    try:
        return msgspec.json.decode(settings.restore_marker.read_bytes(), type=_Marker)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise SetupError(f"{settings.restore_marker} cannot be read: {error}; empty the place and restore again") from None


def _write_marker(settings: Settings, marker: _Marker) -> None:
    path = settings.restore_marker
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, msgspec.json.encode(marker))
    except OSError as error:
        raise SetupError(f"the data folder {path.parent} cannot be made: {error.strerror}") from None


def _restore_database(store: Store, record: Record, database: Database, folder: Path, *, goes_on: bool) -> None:
    if goes_on and _is_restored(database, record):
        return
    target = Path(database.engine.url.database or "") if database.engine.dialect.name == "sqlite" else None
    draft = (target.parent if target else folder) / "restoring.sqlite"
    try:
        write_database_file(store, record, draft)
        if record.schema != schema.newest():
            with opened(draft) as older:
                schema.upgrade(older)
        if target:
            draft.replace(target)
            sync_folder(target.parent)
        else:
            with opened(draft) as source:
                copy(source, database)
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)
    if record.schema == schema.newest() and digests(database).tables != record.tables:
        raise BackupFailed("the restored database has other rows than the backup: empty the place and restore again")


def _is_restored(database: Database, record: Record) -> bool:
    """Whether an earlier try has come as far as the database. It was written as a whole, so there is all of it or nothing."""
    if database.engine.dialect.name == "sqlite":
        there = Path(database.engine.url.database or "").exists()
    else:
        there = not is_empty(database)
    if there and record.schema == schema.newest() and digests(database).tables != record.tables:
        raise SetupError("the database was changed after it was restored: empty the place and restore again")
    return there


def _check(catalog: Catalog, store: Store, progress: Progress, now: float) -> list[str]:
    findings = [f"{found.check} {found.table}: {found.what}" for found in check(catalog.database, catalog.key_encryption)]
    for told in verify.verify(catalog, store, [], whole_disk=False, quarantine=False, now=now):
        if isinstance(told, Scrubbed):
            progress("verifying", told.bytes, told.bytes * told.all_chunks // told.chunks)
        else:
            findings.append(f"{', '.join(told.images)}: {told.finding.kind} {told.finding.chunk}: {told.finding.reason}")
    return findings
