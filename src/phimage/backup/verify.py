"""Verifies backups in their place: every chunk, every manifest, and the rows of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from phimage.backup.database_file import database_file
from phimage.backup.place import BackupPlace
from phimage.backup.record import BackupFailed, BackupRecord
from phimage.catalog import schema
from phimage.catalog.image_bytes import live_manifests
from phimage.chunks.errors import BadChunk, BadManifest
from phimage.chunks.scrub import ScrubFinding, ScrubProgress, scrub
from phimage.maintenance.copy import digests, opened


class Problem(Struct, frozen=True):
    """A defect, and the backups that it affects."""

    backups: tuple[str, ...]
    kind: str
    what: str


class Checked(Struct, frozen=True):
    """The result of `verify`. Chunks that backups share count once."""

    backups: tuple[str, ...]
    chunks: int
    bytes: int  # of the raw disks
    problems: tuple[Problem, ...]


def verify(
    place: BackupPlace,
    records: Sequence[BackupRecord],
    *,
    now: float,
    quarantine: bool = False,
    progress: Callable[[ScrubProgress], object] = lambda at: None,
) -> Checked:
    """Read and verify all bytes of backups. `quarantine` moves damaged chunks aside, so that the next backup sends them again.

    Raises StoreFailure if the place does not answer.
    """
    needed = {record.name: frozenset(record.needed()) for record in records}
    problems = []
    at = ScrubProgress(0, 0, 0)
    for result in scrub(place.store, set().union(*needed.values()), now=now, quarantine=quarantine):
        if isinstance(result, ScrubProgress):
            at = result
            progress(at)
        else:
            affected = tuple(name for name, manifests in needed.items() if result.manifest in manifests)
            problems.append(Problem(affected, result.kind, _text(result)))
    for record in records:
        problems += [Problem((record.name,), "database", what) for what in _database(place, record)]
    return Checked(tuple(needed), at.chunks, at.bytes, tuple(problems))


def _text(finding: ScrubFinding) -> str:
    return f"chunk {finding.chunk}: {finding.reason}" if finding.chunk else f"manifest {finding.manifest}: {finding.reason}"


def _database(place: BackupPlace, record: BackupRecord) -> list[str]:
    """The defects of the copy of the database. For another schema only its bytes are verified."""
    try:
        with database_file(place.store, record) as path, opened(path) as database:
            if record.schema != schema.newest():
                return []
            copied = digests(database)
            with database.read() as connection:
                live = set(live_manifests(connection))
    except (BadChunk, BadManifest, BackupFailed) as error:
        return [str(error)]
    recorded = {table.table: table for table in record.tables}
    wrong = [f"table {table.table} has other rows" for table in copied.tables if recorded.get(table.table) != table]
    if live != set(record.manifests):
        wrong.append("its images need other manifests than the record names")
    return wrong
