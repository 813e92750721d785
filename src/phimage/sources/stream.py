"""Pipes and standard input as sources, and the source that a person names."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from phimage.sources.answer import told_of
from phimage.sources.errors import SourceBroken, SourceChanged, SourceError
from phimage.sources.local import LocalFile, read_full
from phimage.sources.source import Source

PIECE: Final = 1024 * 1024


def local(path: str) -> Source:
    """A file, a block device, a pipe, or `-` for standard input. Raises SourceError when it cannot be read.

    A pipe stays open until the process ends, as standard input does.
    """
    if path == "-":
        return Stream(sys.stdin.buffer)
    found = Path(path)
    try:
        if stat.S_ISFIFO(found.stat().st_mode) or stat.S_ISCHR(found.stat().st_mode):
            return Stream(open(os.open(found, os.O_RDONLY | os.O_CLOEXEC), "rb", closefd=False), found.name)
    except OSError as error:
        raise SourceError(path, told_of(error), "check the path and its rights", reason="file") from None
    return LocalFile(found)


class Stream:
    """A pipe, or standard input. It can be read once, forward."""

    repeatable: Final = False
    size: Final = None
    version: Final = ""

    def __init__(self, file: BinaryIO, name: str = "-") -> None:
        """`file` is open. It is read, and closed by who opened it."""
        self.name = name
        self._where = "standard input" if name == "-" else name
        self._file = file
        self._place = 0

    def open(self, offset: int = 0) -> StreamReader:
        """Go on reading at a place that was not yet passed: what is before it is read and left out.

        So a broken upload goes on when the same bytes are piped in again. Raises SourceError for going back, and
        SourceChanged when the bytes end before the place.
        """
        if offset < self._place:
            told = "it can be read only once"
            raise SourceError(self._where, told, "start again, or give a file", reason="stream", offset=offset)
        while self._place < offset:
            if not self.take(min(PIECE, offset - self._place)):
                told = f"it ends before byte {offset}, where the last time stopped"
                raise SourceChanged(self._where, told, "give the same bytes again", reason="short", offset=self._place)
        return StreamReader(self)

    def take(self, size: int) -> bytes:
        """The next bytes, fewer only at the end. Raises SourceBroken."""
        try:
            found = read_full(self._file, size)
        except (OSError, ValueError) as error:
            raise SourceBroken(self._where, f"it cannot be read: {told_of(error)}", reason="read", offset=self._place) from None
        self._place += len(found)
        return found


class StreamReader:
    """Reads a `Stream`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for, fewer only at the end."""
        return self._stream.take(size)

    def close(self) -> None:
        """Stop reading. The stream stays where it is."""

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()
