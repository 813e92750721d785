"""The place of backups: a store with a mark, the records of whole backups, and what they need."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from phimage.backup.record import FOLDER, BackupFailed, Record, decode, encode, object_name
from phimage.chunks.errors import Absent
from phimage.chunks.factory import open_store
from phimage.chunks.gc import Report, collect
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.store import Store
from phimage.errors import SetupError

MARK = "backup-place.json"
FORMAT = "phimage-backup-place-1"
GRACE_SECONDS = 7 * 24 * 3600.0
"""How long chunks that no backup needs stay. A backup refreshes what is older than half of it, which is then rarely done."""

_RECORD = re.compile(rf"{FOLDER}/(\d{{8}}t\d{{6}}z)\.json")


class _Mark(Struct, frozen=True):
    format: str
    key_fingerprint: str


class Place:
    """Backups of one installation."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def claim(self, fingerprint: str) -> None:
        """Take an empty place for the backups of an installation, known by its master key.

        Raises SetupError when there is something else: the store of an installation, or backups of another one.
        """
        mark = self._mark()
        if mark is None:
            if next(self.store.list(), None) is not None:
                raise SetupError(f"{self.describe()} has other objects: name an empty folder, or an unused prefix of a bucket")
            self.store.put(MARK, msgspec.json.encode(_Mark(FORMAT, fingerprint)))
        elif mark.key_fingerprint != fingerprint:
            raise SetupError(f"{self.describe()} has backups of an installation with another master key: name another place")

    def names(self) -> list[str]:
        """The names of all whole backups, oldest first."""
        return sorted(found[1] for stored in self.store.list(FOLDER) if (found := _RECORD.fullmatch(stored.name)))

    def records(self) -> list[Record]:
        """All whole backups, oldest first. Raises BackupFailed for a record that is damaged."""
        return [record for name in self.names() if (record := self.find(name)) is not None]

    def find(self, name: str) -> Record | None:
        """A backup by name. Raises BackupFailed for a record that is damaged."""
        try:
            data = self.store.get(object_name(name))
        except (Absent, ValueError):
            return None
        try:
            record = decode(data)
            if record.name != name:
                raise ValueError(f"it says that it is {record.name}")
        except ValueError as error:
            raise BackupFailed(f"the record {object_name(name)} is damaged: {error}") from error
        return record

    def choose(self, name: str | None) -> Record:
        """The backup of that name, the newest without one. Raises SetupError when there is none."""
        if name is None:
            names = self.names()
            if not names:
                raise SetupError(f"{self.describe()} has no whole backup")
            name = names[-1]
        record = self.find(name.lower())
        if record is None:
            raise SetupError(f"{self.describe()} has no backup {name}; `phimage backup list` names them")
        return record

    def put(self, record: Record) -> None:
        """List a backup. Everything that it needs must be there and held."""
        self.store.put(object_name(record.name), encode(record))

    def remove(self, name: str) -> None:
        """Do not list a backup any more."""
        self.store.delete(object_name(name))

    def needed(self) -> set[ManifestDigest]:
        """Every manifest that a listed backup needs."""
        return {digest for record in self.records() for digest in record.needed()}

    def describe(self) -> str:
        """Where the place is, in words for an operator."""
        return self.store.describe()

    def _mark(self) -> _Mark | None:
        try:
            mark = msgspec.json.decode(self.store.get(MARK), type=_Mark)
        except Absent:
            return None
        except msgspec.DecodeError as error:
            raise BackupFailed(f"the mark {MARK} of {self.describe()} is damaged: {error}") from error
        if mark.format != FORMAT:
            raise SetupError(f"{self.describe()} has the format {mark.format!r}, and this phimage knows {FORMAT!r}")
        return mark


def open_place(text: str, *, make: bool = False) -> Place:
    """A place from what an operator writes: a folder, or s3://bucket/prefix?endpoint=... as for a store.

    A folder that is not there is made only when asked to. Raises SetupError.
    """
    if text == "memory:":
        raise SetupError("DEST memory: would be gone with this command: name a folder or s3://...")
    if not make and not text.startswith("s3://") and not Path(text).is_dir():
        raise SetupError(f"there is no folder {text}: name the place of the backups, a folder or s3://...")
    return Place(open_store(text, "DEST"))


class Pruned(Struct, frozen=True):
    """What was removed."""

    names: tuple[str, ...]
    report: Report


def prune(
    place: Place, keep: int, *, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> Pruned:
    """Keep the newest backups, and remove the others with the chunks that only they needed. Safe at any time, and to repeat.

    The argument of `chunks.collect` holds with g = GRACE_SECONDS: a backup is a writer, its record registers its manifests, and
    `place.needed` names those of all records. Raises BackupFailed when a record is damaged, and then removes nothing.
    """
    begun = now()
    names = [record.name for record in place.records()][: -max(keep, 1)]
    for name in names:
        place.remove(name)
    report = collect(place.store, place.needed, now=begun, grace_seconds=GRACE_SECONDS, sleep=sleep)
    return Pruned(tuple(names), report)
