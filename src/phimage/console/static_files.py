"""The files that pages refer to: style sheet, scripts and icons. Their addresses change with their contents."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from msgspec import Struct

from phimage.console.address import ROOT

_BELOW = "static/"
PREFIX = ROOT + _BELOW
_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_MIN_GZIP_BYTES = 1000


class StaticFile(Struct, frozen=True):
    """A file in memory. `version` is a part of its digest; `packed` is its gzip form, empty for a short file."""

    content: bytes
    packed: bytes
    media_type: str
    version: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All files, by name."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}


def static_address(name: str, root: str = ROOT) -> str:
    """The address of a file, below the root of a console. It names the contents, so that a browser may keep them for ever."""
    return f"{root}{_BELOW}{static_files()[name].version}/{name}"


def find_static(path: str) -> tuple[StaticFile, bool] | None:
    """The file of an address, and whether the address names its contents. None if there is no such file."""
    version, _, name = path.removeprefix(PREFIX).rpartition("/")
    found = static_files().get(name)
    return None if found is None else (found, found.version == version)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    packed = gzip.compress(content, 9, mtime=0) if len(content) > _MIN_GZIP_BYTES else b""
    return StaticFile(content, packed, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])
