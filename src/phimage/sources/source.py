"""What everything that gives image bytes can do. The interface between this room and those who publish or upload."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Reader(Protocol):
    """Bytes in their order. Close it; it is a context manager."""

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for; fewer only at the end, none after it. Raises SourceError."""
        ...

    def close(self) -> None:
        """Give back what it holds. May be repeated."""
        ...

    def __enter__(self) -> Reader: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Source(Protocol):
    """Where the original bytes of an image come from."""

    @property
    def name(self) -> str:
        """The name of the file, without folders, as a checksum file has it; "-" when it has none. Never trusted."""
        ...

    @property
    def size(self) -> int | None:
        """How many bytes there are; None when only reading tells."""
        ...

    @property
    def version(self) -> str:
        """A text that is another one when the bytes are others, so an upload is not resumed with them; "" when none tells."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether `open` may be called again, at any place."""
        ...

    def open(self, offset: int = 0) -> Reader:
        """Read from a place on. Raises SourceError.

        What cannot be repeated is read only forward: bytes before `offset` are read and left out, and going back raises.
        """
        ...
