"""Verifying backups where they are: every chunk, every manifest, and the rows of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from phimage.backup.database_file import database_file
from phimage.backup.place import Place
from phimage.backup.record import BackupFailed, Record
from phimage.catalog import schema
from phimage.catalog.image_bytes import live_manifests
from phimage.chunks.errors import BadChunk, BadManifest
from phimage.chunks.scrub import Finding, Progress, scrub
from phimage.maintenance.copy import digests, opened


class Problem(Struct, frozen=True):
    """Something wrong with backups."""

    backups: tuple[str, ...]
    kind: str
    what: str


class Checked(Struct, frozen=True):
    """What was verified, and what is wrong. Chunks that backups share are read once."""

    backups: tuple[str, ...]
    chunks: int
    bytes: int  # of the raw disks
    problems: tuple[Problem, ...]


def verify(
    place: Place,
    records: Sequence[Record],
    *,
    now: float,
    quarantine: bool = False,
    progress: Callable[[Progress], object] = lambda at: None,
) -> Checked:
    """Read everything that backups need. `quarantine` moves damaged chunks aside, so that the next backup sends them again.

    Raises StoreFailure when the place is away.
    """
    needed = {record.name: frozenset(record.needed()) for record in records}
    problems = []
    at = Progress(0, 0, 0)
    for told in scrub(place.store, set().union(*needed.values()), now=now, quarantine=quarantine):
        if isinstance(told, Progress):
            at = told
            progress(at)
        else:
            hurt = tuple(name for name, manifests in needed.items() if told.manifest in manifests)
            problems.append(Problem(hurt, told.kind, _words(told)))
    for record in records:
        problems += [Problem((record.name,), "database", what) for what in _database(place, record)]
    return Checked(tuple(needed), at.chunks, at.bytes, tuple(problems))


def _words(finding: Finding) -> str:
    return f"chunk {finding.chunk}: {finding.reason}" if finding.chunk else f"manifest {finding.manifest}: {finding.reason}"


def _database(place: Place, record: Record) -> list[str]:
    """What is wrong with the copy of the database. Of another schema only the bytes are compared."""
    try:
        with database_file(place.store, record) as path, opened(path) as database:
            if record.schema != schema.newest():
                return []
            found = digests(database)
            with database.read() as connection:
                live = set(live_manifests(connection))
    except (BadChunk, BadManifest, BackupFailed) as error:
        return [str(error)]
    told = {table.table: table for table in record.tables}
    wrong = [f"table {table.table} has other rows" for table in found.tables if told.get(table.table) != table]
    if live != set(record.manifests):
        wrong.append("it refers to other images than the record")
    return wrong
