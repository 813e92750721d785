"""The record of one backup: what it is, and what has to be in the place for it."""

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
    """A backup or a restore did not come to its end. What was copied stays, so that the same command goes on."""


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """A backup that is whole."""

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
    """The name of a backup of that time, such as 20261128t163000z: names of a store have small letters only."""
    return time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(at))


def object_name(name: str) -> str:
    """Where a record is kept. Raises ValueError for what is no name of a backup."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a backup, such as 20261128t163000z")
    return f"{FOLDER}/{name}.json"


def encode(record: Record) -> bytes:
    """A record as its object has it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def decode(data: bytes) -> Record:
    """A record from its object. Raises ValueError."""
    try:
        record = msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if record.format != FORMAT:
        raise ValueError(f"its format is {record.format!r}, and this phimage reads {FORMAT!r}")
    return record
