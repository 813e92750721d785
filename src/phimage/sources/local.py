"""Files and block devices as sources."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from phimage.sources.answer import told_of
from phimage.sources.errors import SourceBroken, SourceChanged, SourceError

_REMEDY = "check the path and its rights"


class LocalFile:
    """A file or a block device. It must stay as it is until it was read; that it did is checked at its end."""

    repeatable: Final = True

    def __init__(self, path: Path, name: str = "") -> None:
        """`name` is told instead of the file's own. Raises SourceError when it cannot be read."""
        self.path = path
        self.name = name or path.name
        with self._opened() as file:
            self._facts = _facts(file)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._facts[0]

    @property
    def version(self) -> str:
        """Size, time of change and number of the file."""
        return "-".join(f"{fact:x}" for fact in self._facts)

    def open(self, offset: int = 0) -> FileReader:
        """Read from a place on. Raises SourceChanged when the file is no longer the one that it was."""
        reader = FileReader(self._opened(), str(self.path), self._facts)
        try:
            reader.start(offset)
        except BaseException:
            reader.close()
            raise
        return reader

    def _opened(self) -> BinaryIO:
        try:
            if stat.S_ISDIR(self.path.stat().st_mode):
                raise SourceError(str(self.path), "it is a folder", "give the image file in it", reason="folder")
            return self.path.open("rb")
        except OSError as error:
            raise SourceError(str(self.path), told_of(error), _REMEDY, reason="file") from None


class FileReader:
    """Reads a `LocalFile`."""

    def __init__(self, file: BinaryIO, where: str, facts: tuple[int, int, int]) -> None:
        """`facts` are those that the file must still have at its end."""
        self._file = file
        self._where = where
        self._facts = facts
        self._place = 0

    def start(self, offset: int) -> None:
        """Go to a place. Raises SourceChanged."""
        self._check()
        self._place = self._file.seek(offset)

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for, fewer only at the end. Raises SourceChanged at the end of another file than begun."""
        try:
            found = read_full(self._file, size)
        except OSError as error:
            raise SourceBroken(self._where, f"it cannot be read: {told_of(error)}", reason="read", offset=self._place) from None
        self._place += len(found)
        if self._place >= self._facts[0] or len(found) < size:
            self._check()
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _check(self) -> None:
        if _facts(self._file) != self._facts:
            told = "it was changed while it was read"
            raise SourceChanged(self._where, told, "start again from its beginning", reason="changed", offset=self._place)


def read_full(file: BinaryIO, size: int) -> bytes:
    """Read until there is enough or the end, for files that give less than asked for."""
    found = file.read(size)
    if len(found) == size or not found:
        return found
    parts = [found]
    missing = size - len(found)
    while missing and (found := file.read(missing)):
        parts.append(found)
        missing -= len(found)
    return b"".join(parts)


def _facts(file: BinaryIO) -> tuple[int, int, int]:
    """Size, time of change and number. A device has no time that tells anything."""
    found = os.fstat(file.fileno())
    if stat.S_ISBLK(found.st_mode):
        return os.lseek(file.fileno(), 0, os.SEEK_END), 0, found.st_rdev
    return found.st_size, found.st_mtime_ns, found.st_ino
