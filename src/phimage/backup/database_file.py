"""Reads the copy of the database from a backup."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from phimage.backup.record import BackupFailed, BackupRecord
from phimage.chunks.read import open_disk
from phimage.chunks.store import Store
from phimage.errors import ClientError


def write_database_file(store: Store, record: BackupRecord, path: Path) -> None:
    """Write the SQLite file of a backup, mode 0600, and make it durable.

    Raises BadManifest, BadChunk, BackupFailed if the file differs from the one that was backed up, and ClientError if it cannot
    be written.
    """
    disk = open_disk(store, record.database)
    whole = sha256()
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            for piece in disk.chunks():
                whole.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # a failed write names no file
        raise ClientError(f"{path}: {error.strerror}; correct that and run the same command again") from None
    if whole.hexdigest() != disk.manifest.sha256:
        raise BackupFailed(
            f"the database of backup {record.name} is damaged: its SHA-256 is {whole.hexdigest()}; restore another backup"
        )


@contextmanager
def database_file(store: Store, record: BackupRecord) -> Iterator[Path]:
    """The SQLite file of a backup in a temporary folder. Raises like `write_database_file`."""
    with TemporaryDirectory(prefix="phimage-backup-") as folder:
        path = Path(folder) / "catalog.sqlite"
        write_database_file(store, record, path)
        yield path
