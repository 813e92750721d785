"""A place of backups: a store with a mark, the records of complete backups, and their manifests and chunks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from phimage.backup.record import FOLDER, BackupFailed, BackupRecord, decode, encode, object_name
from phimage.chunks.errors import Absent
from phimage.chunks.factory import open_store
from phimage.chunks.gc import GcReport, collect_garbage
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.store import Store
from phimage.errors import SetupError

MARK = "backup-place.json"
FORMAT = "phimage-backup-place-1"
# docs/decisions.md#a-backup-destination-is-collected-after-seven-days
GRACE_SECONDS = 7 * 24 * 3600.0
"""The grace period of unneeded chunks. Long, because a backup must refresh chunks older than half of it."""

_RECORD = re.compile(rf"{FOLDER}/(\d{{8}}t\d{{6}}z)\.json")


class _Mark(Struct, frozen=True):
    format: str
    key_fingerprint: str


class BackupPlace:
    """The backups of one installation."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def claim(self, fingerprint: str) -> None:
        """Mark an empty place for the backups of an installation, identified by its master key.

        Raises SetupError if it has other objects: the store of an installation, or backups of another one.
        """
        mark = self._mark()
        if mark is None:
            if next(self.store.list(), None) is not None:
                raise SetupError(
                    f"{self.describe()} has other objects: choose an empty folder, or an unused prefix of a bucket"
                )
            self.store.put(MARK, msgspec.json.encode(_Mark(FORMAT, fingerprint)))
        elif mark.key_fingerprint != fingerprint:
            raise SetupError(f"{self.describe()} has backups of an installation with another master key: choose another place")

    def names(self) -> list[str]:
        """The names of all complete backups, oldest first."""
        return sorted(found[1] for stored in self.store.list(FOLDER) if (found := _RECORD.fullmatch(stored.name)))

    def records(self) -> list[BackupRecord]:
        """The records of all complete backups, oldest first. Raises BackupFailed for a damaged record."""
        return [record for name in self.names() if (record := self.find(name)) is not None]

    def find(self, name: str) -> BackupRecord | None:
        """The record of a backup; None if there is none. Raises BackupFailed for a damaged record."""
        try:
            data = self.store.get(object_name(name))
        except (Absent, ValueError):
            return None
        try:
            record = decode(data)
            if record.name != name:
                raise ValueError(f"it is the record of {record.name}")
        except ValueError as error:
            raise BackupFailed(f"the record {object_name(name)} is damaged: {error}") from error
        return record

    def choose(self, name: str | None) -> BackupRecord:
        """The record of a backup, or of the newest one without a name. Raises SetupError if there is none."""
        if name is None:
            names = self.names()
            if not names:
                raise SetupError(f"{self.describe()} has no complete backup: make one with `phimage backup create`")
            name = names[-1]
        record = self.find(name.lower())
        if record is None:
            raise SetupError(f"{self.describe()} has no backup {name}; `phimage backup list` names them")
        return record

    def put(self, record: BackupRecord) -> None:
        """Write the record of a backup, which lists it. The place must already hold all bytes that it needs."""
        self.store.put(object_name(record.name), encode(record))

    def remove(self, name: str) -> None:
        """Remove the record of a backup."""
        self.store.delete(object_name(name))

    def needed(self) -> set[ManifestDigest]:
        """Every manifest that a listed backup needs."""
        return {digest for record in self.records() for digest in record.needed()}

    def describe(self) -> str:
        """The location of the place, for messages."""
        return self.store.describe()

    def _mark(self) -> _Mark | None:
        try:
            mark = msgspec.json.decode(self.store.get(MARK), type=_Mark)
        except Absent:
            return None
        except msgspec.DecodeError as error:
            raise BackupFailed(f"the mark {MARK} of {self.describe()} is damaged: {error}") from error
        if mark.format != FORMAT:
            raise SetupError(f"{self.describe()} has the format {mark.format!r}, not {FORMAT!r}: use the phimage that wrote it")
        return mark


def open_place(text: str, *, create: bool = False) -> BackupPlace:
    """Open a place by its address: a folder, or s3://bucket/prefix?endpoint=... as for a store.

    Creates a missing folder only with `create`. Raises SetupError.
    """
    if text == "memory:":
        raise SetupError("DEST memory: ends with this command: name a folder or s3://...")
    if not create and not text.startswith("s3://") and not Path(text).is_dir():
        raise SetupError(f"there is no folder {text}: name the place of the backups, a folder or s3://...")
    return BackupPlace(open_store(text, "DEST"))


class Pruned(Struct, frozen=True):
    """The result of `prune`."""

    names: tuple[str, ...]
    report: GcReport


def prune(
    place: BackupPlace, keep: int, *, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> Pruned:
    """Remove all backups but the newest ones, with the chunks that only they needed. Safe at any time, and can be repeated.

    The argument of `chunks.gc` applies with g = GRACE_SECONDS: a backup is a writer, its record registers its manifests, and
    `place.needed` names the manifests of all records. Raises BackupFailed for a damaged record, and then removes nothing.
    """
    begun = now()
    names = [record.name for record in place.records()][: -max(keep, 1)]
    for name in names:
        place.remove(name)
    report = collect_garbage(place.store, place.needed, now=begun, grace_seconds=GRACE_SECONDS, sleep=sleep)
    return Pruned(tuple(names), report)
