"""The raw disk."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from phimage.chunks.read import DiskReader
from phimage.delivery.representation import Piece


class Raw:
    """A disk as it is."""

    media_type = "application/octet-stream"

    def __init__(self, reader: DiskReader) -> None:
        self._reader = reader
        self.size = reader.manifest.size
        self.digest: str = reader.manifest.sha256
        self.etag = f'"{self.digest}"'
        self.piece_bytes = reader.manifest.chunk_size

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """See Representation."""
        return disk_pieces(self._reader, start, stop)


def disk_pieces(reader: DiskReader, start: int, stop: int) -> Iterator[Piece]:
    """The bytes of a disk, chunk by chunk. Parts of chunks come from the reader's cache: many small reads load a chunk once."""
    size = reader.manifest.chunk_size
    while start < stop:
        index = start // size
        end = min(stop, (index + 1) * size)
        whole = end - start == reader.manifest.length(index)
        yield partial(reader.chunk, index) if whole else partial(reader.read, start, end - start)
        start = end
