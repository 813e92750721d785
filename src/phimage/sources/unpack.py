"""Taking compressed bytes apart as they come: by their first bytes, one level deep, within bounds, to their very end.

A bomb is told by its ratio. Zero blocks count separately: a disk that is mostly empty is no bomb, and its holes cost
nothing where they are written as holes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from phimage.sources.answer import told_of
from phimage.sources.codec import DAMAGES, MAGIC, Compression, decompressor, detect, told_size
from phimage.sources.errors import PackRefused, TooLarge
from phimage.sources.progress import Clock, Meter, Tell
from phimage.sources.source import Reader

BLOCK: Final = 1024 * 1024
"""How many bytes come at a time, but for the last ones."""

ZEROS: Final = bytes(BLOCK)
PIECE: Final = 256 * 1024
HEAD: Final = MAGIC + 8
FIRST_PIECE: Final = 4096
"""What a member is given at first: members may be tiny, and what is left over is copied each time."""

MAX_EMPTY: Final = 1024
"""How many members in a row may hold nothing."""


class Bounds(Struct, frozen=True):
    """Limits of what comes out: in all; for each compressed byte; the same without zero blocks; memory of a decompressor.

    The ratios hold after the first `free` bytes. Real disks: 3 to 20 with data, 200 for 80 GB with 1 GB on it.
    """

    max_size: int = 4 * 1024**4
    ratio: int = 500
    data_ratio: int = 100
    free: int = 64 * 1024 * 1024
    memory: int = 128 * 1024 * 1024


class Unpacking:
    """Blocks of `BLOCK` bytes, the last one shorter, of what a reader's bytes hold. Iterate it once.

    Raises PackRefused and TooLarge while iterating; only when it ends by itself were the bytes whole.
    """

    def __init__(
        self,
        reader: Reader,
        where: str,
        bounds: Bounds | None = None,
        *,
        total: int | None = None,
        tell: Tell | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`total` is how many bytes the reader has, for progress, which counts those. `where` names it in errors."""
        self.compression = Compression.NONE
        self.size = 0
        self.data = 0
        self._input = _Input(reader)
        self._where = where
        self._bounds = bounds or Bounds()
        self._total = total
        self._meter = Meter(tell, clock)

    def __iter__(self) -> Iterator[bytes]:
        head = self._input.peek(HEAD)
        self.compression = detect(head)
        self._check_told(head)
        first = True
        for block in _blocks(self._plain() if self.compression is Compression.NONE else self._members()):
            if first and self.compression is not Compression.NONE and detect(block) is not Compression.NONE:
                raise self._refused(f"inside of {self.compression} it is {detect(block)} again", "unpack it once", "nested")
            first = False
            if block != ZEROS[: len(block)]:
                self.data += len(block)
                self._check_ratio(self.data, self._bounds.data_ratio)
            yield block
            self._meter.at(self.taken, self._total)
        if first:
            raise self._refused("it holds nothing", "check how it was made", "empty")
        self._meter.end(self.taken, self._total)

    @property
    def taken(self) -> int:
        """How many of the reader's bytes were used."""
        return self._input.taken

    def _plain(self) -> Iterator[bytes]:
        while piece := self._input.take(PIECE):
            self._count(len(piece))
            yield piece

    def _members(self) -> Iterator[bytes]:
        empty = 0
        while True:
            before = self.size
            yield from self._member()
            empty = empty + 1 if self.size == before else 0
            if empty > MAX_EMPTY:
                raise self._refused(f"{empty} parts of it in a row hold nothing", "compress it again", "empty")
            if not self._another():
                return

    def _member(self) -> Iterator[bytes]:
        """What one member holds. Bytes after it stay in the input."""
        step = FIRST_PIECE
        try:
            inner = decompressor(self.compression, self._bounds.memory)
            while not inner.eof:
                piece = b""
                if inner.needs_input:
                    piece = self._input.take(step)
                    step = min(2 * step, PIECE)
                    if not piece:
                        raise self._refused("it is cut short", "get it again, whole", "cut")
                out = inner.decompress(piece, BLOCK)
                self._count(len(out))
                self._check_ratio(self.size, self._bounds.ratio)
                yield out
            self._input.back(len(inner.unused_data))
        except DAMAGES as error:
            raise self._damaged(error) from None

    def _another(self) -> bool:
        """Whether another member follows. Zeros may fill up the end: of gzip as on tapes, of xz in fours."""
        zeros = self._input.skip_zeros() if self.compression in (Compression.GZIP, Compression.XZ) else 0
        head = self._input.peek(HEAD)
        if not (self.compression is Compression.XZ and zeros % 4) and (not head or detect(head) is self.compression):
            self._check_told(head)
            return bool(head)
        raise self._refused(f"after the {self.compression} there are other bytes", "get it again, or cut them off", "trailing")

    def _count(self, more: int) -> None:
        self.size += more
        if self.size > self._bounds.max_size:
            raise self._too_large()

    def _check_told(self, head: bytes) -> None:
        """Raises TooLarge when the member that begins here says that it holds more than the limit leaves."""
        if self.size + (told_size(self.compression, head) or 0) > self._bounds.max_size:
            raise self._too_large()

    def _check_ratio(self, size: int, ratio: int) -> None:
        if size > self._bounds.free and size > ratio * self.taken:
            told = f"{self.taken} bytes of it make {size}, more than {ratio} for each, as only a decompression bomb does"
            raise self._refused(told, "publish it as qcow2, or ask the operator of this server for a larger ratio", "bomb")

    def _damaged(self, error: Exception) -> PackRefused:
        if "emory" in str(error):
            told = f"to unpack it takes more than {self._bounds.memory >> 20} MiB of memory"
            return self._refused(told, "compress it again: xz -9 or zstd -19 and below need less", "memory")
        return self._refused(f"the {self.compression} is damaged: {told_of(error)}", "get it again, whole", "damaged")

    def _refused(self, what: str, remedy: str, reason: str) -> PackRefused:
        return PackRefused(self._where, what, remedy, reason=reason, offset=self.taken)

    def _too_large(self) -> TooLarge:
        told = f"it holds more than the limit of {self._bounds.max_size} bytes"
        return TooLarge(self._where, told, "ask the operator of this server for a larger limit", reason="limit")


class _Input:
    """The reader's bytes, of which the last ones taken can be given back."""

    def __init__(self, reader: Reader) -> None:
        self.taken = 0
        self._reader = reader
        self._chunk = b""
        self._place = 0

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay."""
        while len(self._chunk) - self._place < size and (more := self._reader.read(PIECE)):
            self._chunk, self._place = self._chunk[self._place :] + more, 0
        return self._chunk[self._place : self._place + size]

    def take(self, max_size: int) -> bytes:
        """The next bytes; none at the end."""
        if self._place == len(self._chunk):
            self._chunk, self._place = self._reader.read(PIECE), 0
        found = self._chunk[self._place : self._place + max_size]
        self._place += len(found)
        self.taken += len(found)
        return found

    def back(self, size: int) -> None:
        """Give back the last bytes of what `take` gave last."""
        self._place -= size
        self.taken -= size

    def skip_zeros(self) -> int:
        """Take zeros, and say how many."""
        count = 0
        while run := self.peek(FIRST_PIECE):
            zeros = len(run) - len(run.lstrip(b"\0"))
            self.take(zeros)
            count += zeros
            if zeros < len(run):
                break
        return count


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of `BLOCK`."""
    parts, have = list[bytes](), 0
    for piece in pieces:
        start = 0
        while have + len(piece) - start >= BLOCK:
            stop = start + BLOCK - have
            yield b"".join((*parts, piece[start:stop]))
            parts, have, start = [], 0, stop
        if start < len(piece):
            parts.append(piece[start:])
            have += len(piece) - start
    if parts:
        yield b"".join(parts)
