"""The folders `kept/RELEASE/`, one for each release. Their files are written once and never change."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.upgrade.recording import RecordedRequest, Response

FOLDER = Path(__file__).parent / "kept"


class Exchange(Struct, frozen=True, rename="pascal"):
    """A request and the release's response."""

    request: RecordedRequest
    response: Response


class About(Struct, frozen=True, rename="pascal"):
    """The release, its schema, and the images that have bytes."""

    release: str
    program_version: str
    schema: str
    revision: int
    images: tuple[str, ...]


class Kept:
    """The folder of a release."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def about(self) -> About:
        return msgspec.json.decode((self._folder / "about.json").read_bytes(), type=About)

    @property
    def exchanges(self) -> list[Exchange]:
        """Every request with its response, each a line of JSON."""
        lines = gzip.decompress((self._folder / "exchanges.jsonl.gz").read_bytes())
        return msgspec.json.Decoder(Exchange).decode_lines(lines)

    @property
    def dump(self) -> str:
        """The catalogue as SQL for psql, written by pg_dump."""
        return gzip.decompress((self._folder / "postgresql.sql.gz").read_bytes()).decode()

    def unpack(self, to: Path) -> Path:
        """Make a copy of the data folder. `unpack_archive` drops file modes, so the master key's is set here."""
        shutil.unpack_archive(self._folder / "data.zip", to)
        (to / "master.key").chmod(0o600)
        return to


def write(folder: Path, about: About, data: Path, dump: str, exchanges: Iterable[Exchange]) -> None:
    """Write the folder of a release. Raises FileExistsError when it exists, because kept data never changes."""
    folder.mkdir(parents=True)
    (folder / "about.json").write_bytes(msgspec.json.format(msgspec.json.encode(about)) + b"\n")
    lines = msgspec.json.Encoder().encode_lines(exchanges)
    (folder / "exchanges.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    (folder / "postgresql.sql.gz").write_bytes(gzip.compress(dump.encode(), mtime=0))
    shutil.make_archive(str(folder / "data"), "zip", data)


def all_kept() -> list[Kept]:
    """Every release with kept data, by name."""
    return [Kept(folder) for folder in sorted(FOLDER.iterdir())]
