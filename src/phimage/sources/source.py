"""Sources of original bytes, the interface to publishing and uploading: files, block devices, pipes, standard input."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

from phimage.sources.errors import SourceChanged, SourceError, SourceInterrupted, error_text

READ_SIZE: Final = 1024 * 1024

_REMEDY = "check the path and its permissions"


class SourceReader(Protocol):
    """Sequential bytes. A context manager that closes itself."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end, then b"". Raises SourceError."""
        ...

    def close(self) -> None:
        """Release its resources. Idempotent."""
        ...

    def __enter__(self) -> SourceReader: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class ImageSource(Protocol):
    """The original bytes of an image."""

    @property
    def name(self) -> str:
        """The file name without folders, as checksum files write it; "-" when there is none. Never trusted."""
        ...

    @property
    def size(self) -> int | None:
        """The size in bytes; None when it is unknown before reading."""
        ...

    @property
    def version(self) -> str:
        """A text that changes with the bytes, so that an upload resumes only with the same ones; "" when unknown."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether `open` may be called again, at any offset."""
        ...

    def open(self, offset: int = 0) -> SourceReader:
        """Read from `offset` on. Raises SourceError.

        A source that is not repeatable reads and drops the bytes before `offset`, and raises for an offset already passed.
        """
        ...


class LocalFile:
    """A file or a block device. Reading it raises SourceChanged at its end when it has changed since construction."""

    repeatable: Final = True

    def __init__(self, path: Path, name: str = "") -> None:
        """`name` replaces the file's own name. Raises SourceError when the file cannot be read."""
        self.path = path
        self.name = name or path.name
        with self._opened() as file:
            self._identity = _identity(file)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._identity[0]

    @property
    def version(self) -> str:
        """Size, modification time and inode number."""
        return "-".join(f"{number:x}" for number in self._identity)

    def open(self, offset: int = 0) -> LocalFileReader:
        """Read from `offset` on. Raises SourceChanged when the file has changed."""
        reader = LocalFileReader(self._opened(), str(self.path), self._identity)
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
            raise SourceError(str(self.path), error_text(error), _REMEDY, reason="file") from None


class LocalFileReader:
    """The reader of a `LocalFile`."""

    def __init__(self, file: BinaryIO, where: str, identity: tuple[int, int, int]) -> None:
        """`identity` is what the file must still have at its end."""
        self._file = file
        self._where = where
        self._identity = identity
        self._offset = 0

    def start(self, offset: int) -> None:
        """Seek to `offset`. Raises SourceChanged."""
        self._check()
        self._offset = self._file.seek(offset)

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end. Raises SourceChanged at the end of a changed file."""
        try:
            data = read_full(self._file, size)
        except OSError as error:
            raise _unreadable(self._where, error, self._offset) from None
        self._offset += len(data)
        if self._offset >= self._identity[0] or len(data) < size:
            self._check()
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> LocalFileReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _check(self) -> None:
        if _identity(self._file) != self._identity:
            message = "it was changed while it was read"
            raise SourceChanged(self._where, message, "start again from its beginning", reason="changed", offset=self._offset)


class PipeSource:
    """A pipe, or standard input. It can be read once, forward."""

    repeatable: Final = False
    size: Final = None
    version: Final = ""

    def __init__(self, file: BinaryIO, name: str = "-") -> None:
        """Read the open `file`, which the caller closes."""
        self.name = name
        self._where = "standard input" if name == "-" else name
        self._file = file
        self._offset = 0

    def open(self, offset: int = 0) -> PipeReader:
        """Read from `offset` on, dropping the bytes before it: an upload resumes when the same bytes are piped in again.

        Raises SourceError for an offset already passed, SourceChanged when the bytes end before it.
        """
        if offset < self._offset:
            message = "it can be read only once"
            raise SourceError(self._where, message, "start again, or give a file", reason="stream", offset=offset)
        while self._offset < offset:
            if not self.take(min(READ_SIZE, offset - self._offset)):
                message = f"it ends before byte {offset}, where the upload stopped last time"
                raise SourceChanged(self._where, message, "give the same bytes again", reason="short", offset=self._offset)
        return PipeReader(self)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end. Raises SourceInterrupted."""
        try:
            data = read_full(self._file, size)
        except (OSError, ValueError) as error:
            raise _unreadable(self._where, error, self._offset) from None
        self._offset += len(data)
        return data


class PipeReader:
    """The reader of a `PipeSource`."""

    def __init__(self, pipe: PipeSource) -> None:
        self._pipe = pipe

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        return self._pipe.take(size)

    def close(self) -> None:
        """Stop reading. The pipe keeps its offset."""

    def __enter__(self) -> PipeReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


def open_source(path: str) -> ImageSource:
    """A file, a block device, a pipe, or `-` for standard input. Raises SourceError when it cannot be read.

    A pipe stays open until the process ends, like standard input.
    """
    if path == "-":
        return PipeSource(sys.stdin.buffer)
    file = Path(path)
    try:
        if stat.S_ISFIFO(file.stat().st_mode) or stat.S_ISCHR(file.stat().st_mode):
            return PipeSource(open(os.open(file, os.O_RDONLY | os.O_CLOEXEC), "rb", closefd=False), file.name)
    except OSError as error:
        raise SourceError(path, error_text(error), _REMEDY, reason="file") from None
    return LocalFile(file)


def read_full(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end, from a file that may return short reads."""
    data = file.read(size)
    if len(data) == size or not data:
        return data
    parts = [data]
    missing = size - len(data)
    while missing and (data := file.read(missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def _unreadable(where: str, error: Exception, offset: int) -> SourceInterrupted:
    return SourceInterrupted(where, f"it cannot be read: {error_text(error)}", reason="read", offset=offset)


def _identity(file: BinaryIO) -> tuple[int, int, int]:
    """Size, modification time and inode number. Block devices have no meaningful modification time."""
    status = os.fstat(file.fileno())
    if stat.S_ISBLK(status.st_mode):
        return os.lseek(file.fileno(), 0, os.SEEK_END), 0, status.st_rdev
    return status.st_size, status.st_mtime_ns, status.st_ino
