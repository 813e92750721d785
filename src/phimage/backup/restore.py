"""Restores a backup into an empty place: data folder, database and store.

Writes nothing until the master key fits and all parts of the place are empty. Then a marker file records the restore: after a
kill the same command continues, and no server starts on an unfinished installation. The database is written after the image
bytes that it refers to, then everything is checked; then the marker is removed.
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
from phimage.backup.place import BackupPlace
from phimage.backup.record import BackupFailed, BackupRecord
from phimage.backup.transfer import NeededDisks, Transferred, transfer
from phimage.catalog import schema
from phimage.catalog.engine import Database, database_url, open_database
from phimage.catalog.key_encryption import KeyEncryption, read_master_key, write_master_key
from phimage.catalog.views import Catalog
from phimage.chunks.factory import open_store
from phimage.chunks.scrub import ScrubProgress as Scrubbed
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.files import replace_file, sync_folder
from phimage.maintenance import verify
from phimage.maintenance.check import check
from phimage.maintenance.copy import copy, digests, is_empty, opened
from phimage.settings import Settings

REMEDY = "`phimage backup verify` says which backups are damaged; restore another one with --backup"


class Restored(Struct, frozen=True):
    """The result of `restore`: what was restored, and the findings of the checks."""

    record: BackupRecord
    images: Transferred
    findings: tuple[str, ...]


class _Marker(Struct, frozen=True):
    """The restore that has begun in a data folder, and its targets."""

    backup: str
    key_fingerprint: str
    store: str
    database: str


def begun(settings: Settings) -> str | None:
    """The backup whose restore has begun in a data folder and has not ended; None without one."""
    marker = _read_marker(settings)
    return None if marker is None else marker.backup


def restore(
    place: BackupPlace,
    record: BackupRecord,
    settings: Settings,
    key: bytes,
    *,
    progress: Progress = lambda phase, done, total: None,
    now: Callable[[], float] = time.time,
) -> Restored:
    """Restore a backup to the places of the settings, and check the result. Continues an interrupted attempt.

    Before anything is written, raises SetupError for another master key, a newer schema, or places that are not empty. Raises
    BackupFailed if the backup is incomplete.
    """
    check_key(key, record.key_fingerprint)
    if record.schema > schema.newest():
        raise SetupError(f"backup {record.name} has schema {record.schema}: restore it with the newer phimage that wrote it")
    database = open_database(database_url(settings.database, settings.data_folder))
    try:
        continues = _claim(settings, record, key, database)
        store = open_store(settings.store_place)
        disks = NeededDisks(place.store, record.manifests, REMEDY)
        images = transfer(place.store, store, disks, lambda stored: True, lambda done, total: progress("images", done, total))
        if not settings.master_key_file.exists():
            _write_key(settings.master_key_file, key)
        progress("database", 0, None)
        _restore_database(place.store, record, database, settings.data_folder, continues=continues)
        ownership.adopt(database, store)
        findings = _check(Catalog(database, KeyEncryption(key, secrets.token_bytes)), store, progress, now())
    finally:
        database.close()
    settings.restore_marker.unlink()
    return Restored(record, images, tuple(findings))


def _claim(settings: Settings, record: BackupRecord, key: bytes, database: Database) -> bool:
    """Mark an empty place, or return True to continue an unfinished restore of the same backup."""
    store = settings.store_place
    marker = _Marker(
        record.name,
        record.key_fingerprint,
        store if store.startswith("s3://") else str(Path(store).absolute()),
        database.engine.url.render_as_string(hide_password=True),
    )
    found = _read_marker(settings)
    if found is not None:
        if found != marker:
            raise SetupError(
                f"{settings.data_folder} is an unfinished restore of {found.backup} to {found.store} and {found.database}:"
                " run that restore again, or empty all three"
            )
        return True
    _require_empty(settings, key, database)
    _write_marker(settings, marker)
    return False


def _require_empty(settings: Settings, key: bytes, database: Database) -> None:
    data, key_file = settings.data_folder, settings.master_key_file
    if key_file.exists() and read_master_key(key_file) != key:
        raise SetupError(f"{key_file} is not the master key of the backup: restore to another data folder with --data-dir")
    looked_at = {key_file, Path(settings.store_place)}
    found = sorted(path.name for path in data.iterdir() if path not in looked_at) if data.is_dir() else []
    if found:
        raise SetupError(f"the data folder {data} is not empty: it has {found[0]}; restore to a new one with --data-dir")
    if _holds_anything(settings.store_place):
        raise SetupError(f"the store {settings.store_place} is not empty: restore to a new one with --store")
    if database.engine.dialect.name == "sqlite":
        for ending in ("", "-wal", "-journal"):  # SQLite would apply the log of a lost database to the restored one
            file = Path(f"{database.engine.url.database}{ending}")
            if file.exists():
                raise SetupError(f"the database {file} exists: restore to a new one with --database")
    elif not is_empty(database):
        raise SetupError("the database is not empty: create a new, empty one and name it with --database")


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
        raise SetupError(
            f"{settings.restore_marker} cannot be read: {error}; empty data folder, database and store, and restore again"
        ) from None


def _write_marker(settings: Settings, marker: _Marker) -> None:
    path = settings.restore_marker
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, msgspec.json.encode(marker))
    except OSError as error:
        raise SetupError(f"the data folder {path.parent} cannot be created: {error.strerror}") from None


def _write_key(path: Path, key: bytes) -> None:
    try:
        write_master_key(path, key)
    except OSError as error:
        raise SetupError(f"the master key {path} cannot be written: {error.strerror}; run the same restore again") from None


def _restore_database(store: Store, record: BackupRecord, database: Database, folder: Path, *, continues: bool) -> None:
    if continues and _is_restored(database, record):
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
        raise BackupFailed(
            "the restored database has other rows than the backup: empty data folder, database and store, and restore again"
        )


def _is_restored(database: Database, record: BackupRecord) -> bool:
    """Whether an earlier attempt has written the database, which is atomic."""
    if database.engine.dialect.name == "sqlite":
        there = Path(database.engine.url.database or "").exists()
    else:
        there = not is_empty(database)
    if there and record.schema == schema.newest() and digests(database).tables != record.tables:
        raise SetupError("the database was changed after its restore: empty data folder, database and store, and restore again")
    return there


def _check(catalog: Catalog, store: Store, progress: Progress, now: float) -> list[str]:
    findings = [f"{found.check} {found.table}: {found.what}" for found in check(catalog.database, catalog.key_encryption)]
    for result in verify.verify(catalog, store, [], whole_disk=False, quarantine=False, now=now):
        if isinstance(result, Scrubbed):
            progress("verifying", result.bytes, result.bytes * result.all_chunks // result.chunks)
        else:
            finding = result.finding
            findings.append(f"{', '.join(result.images)}: {finding.kind} {finding.chunk}: {finding.reason}")
    return findings
