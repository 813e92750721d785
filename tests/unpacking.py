"""Decompressing into a file, as publishing does with originals that are no raw disks."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from phimage.sources.compression import Compression
from phimage.sources.partial_file import FreeSpace
from phimage.sources.source import SourceReader
from phimage.sources.unpack import Unpacker, UnpackLimits, write_sparse


class UnpackedFile(Struct, frozen=True):
    """The result: total bytes, bytes written (the rest are holes), compressed bytes, and the compression."""

    size: int
    data: int
    packed: int
    compression: Compression


def unpack_to(
    reader: SourceReader, where: str, path: Path, space: FreeSpace, limits: UnpackLimits | None = None
) -> UnpackedFile:
    """Decompress a reader's bytes, to its end, into a sparse file."""
    unpacker = Unpacker(reader, where, limits)
    writer = write_sparse(unpacker, where, path, space)
    return UnpackedFile(writer.size, writer.data, unpacker.taken, unpacker.compression)
