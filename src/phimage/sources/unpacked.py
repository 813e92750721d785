"""Unpacking into a work file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from phimage.sources.codec import Compression
from phimage.sources.progress import Clock, Tell
from phimage.sources.source import Reader
from phimage.sources.space import EVERY, Room
from phimage.sources.sparse import SparseWriter
from phimage.sources.unpack import Bounds, Unpacking


class Unpacked(Struct, frozen=True):
    """What came out: bytes in all, bytes written (the rest are holes), compressed bytes that it was, and how."""

    size: int
    data: int
    packed: int
    compression: Compression


def unpack_to(
    reader: Reader,
    where: str,
    path: Path,
    room: Room,
    bounds: Bounds | None = None,
    *,
    total: int | None = None,
    tell: Tell | None = None,
    clock: Clock = time.monotonic,
) -> Unpacked:
    """Write what a reader's bytes hold into a file with holes, in the place of an older one.

    Bytes that are not compressed are written as they are. Raises PackRefused, TooLarge and what the reader raises; then
    there is no file. Reads the reader to its end, so a `Verified` one has proved its bytes. `total` and `tell`: see
    `Unpacking`.
    """
    unpacking = Unpacking(reader, where, bounds, total=total, tell=tell, clock=clock)
    path.unlink(missing_ok=True)
    with room.writing(where):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            writer, seen = SparseWriter(descriptor), 0
            for block in unpacking:
                if writer.data >= seen:
                    seen = writer.data + EVERY
                    room.check(where, EVERY)
                writer.write(block)
            writer.finish()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    return Unpacked(writer.size, writer.data, unpacking.taken, unpacking.compression)
