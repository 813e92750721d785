"""Writing a disk image without its zeros: they become holes, which take no room and read as zeros."""

from __future__ import annotations

import os
from typing import Final

UNIT: Final = 4096
"""What is zero as a whole is left out: a page of the usual file systems."""

_ZERO: Final = bytes(UNIT)
_ZEROS: Final = bytes(1024 * 1024)


class SparseWriter:
    """Writes to a new or empty file, one block after the other. Call `finish` at the end: it gives the file its size."""

    def __init__(self, descriptor: int) -> None:
        self.size = 0
        self.data = 0
        self._descriptor = descriptor

    def write(self, block: bytes) -> None:
        """Add a block. Holes are found best in blocks whose length is a multiple of `UNIT`."""
        if block != _ZEROS[: len(block)]:  # the most frequent case, and quick
            start = place = 0
            while place < len(block):
                stop = place + UNIT
                unit = block[place:stop]
                if unit == _ZERO or (len(unit) < UNIT and not any(unit)):
                    if start < place:
                        self._put(block, start, place)
                    start = stop
                place = stop
            self._put(block, start, len(block))
        self.size += len(block)

    def finish(self) -> None:
        """Give the file its size, if it ends in a hole."""
        os.ftruncate(self._descriptor, self.size)

    def _put(self, block: bytes, start: int, stop: int) -> None:
        view = memoryview(block)[start:stop]
        self.data += len(view)
        while view:
            written = os.pwrite(self._descriptor, view, self.size + start)
            view, start = view[written:], start + written
