"""The record of one backup: its contents, and the manifests that it needs."""

from __future__ import annotations

import re
import time

import msgspec
from msgspec import Struct

from phimage.backup.key import EncryptedKey
from phimage.chunks.layout import ManifestDigest
from phimage.errors import PhimageError
from phimage.maintenance.copy import TableDigest
from phimage.model.ids import Revision

FORMAT = "phimage-backup-1"
FOLDER = "backups"

_NAME = re.compile(r"\d{8}t\d{6}z")


class BackupFailed(PhimageError):
    """A backup or a restore failed. What was copied stays: the same command continues it."""


class BackupRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """A complete backup."""

    format: str
    name: str
    time: float  # seconds since 1970, when the database was copied
    revision: Revision
    schema: str
    tables: tuple[TableDigest, ...]  # rows and digest of every table
    database: ManifestDigest  # the copy of the database, an SQLite file stored as a disk
    database_bytes: int
    manifests: tuple[ManifestDigest, ...]  # of every image that has bytes
    image_bytes: int  # of the raw disks
    key_fingerprint: str
    encrypted_key: EncryptedKey | None

    def needed(self) -> tuple[ManifestDigest, ...]:
        """Every manifest that the place must have for this backup."""
        return (*self.manifests, self.database)


def name_of(at: float) -> str:
    """The name of a backup of a time, such as 20261128t163000z: names in a store are in lower case."""
    return time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(at))


def object_name(name: str) -> str:
    """The name of a record in the store. Raises ValueError for an invalid backup name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a backup; expected a name such as 20261128t163000z")
    return f"{FOLDER}/{name}.json"


def encode(record: BackupRecord) -> bytes:
    """A record as JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def decode(data: bytes) -> BackupRecord:
    """A record from JSON. Raises ValueError."""
    try:
        record = msgspec.json.decode(data, type=BackupRecord)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if record.format != FORMAT:
        raise ValueError(f"its format is {record.format!r}, and this phimage reads only {FORMAT!r}")
    return record
